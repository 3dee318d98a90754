"""Supervised pre-training: train the backbone to classify a labelled corpus, then discard the head.

The usual pre-training, and the reference for every self-supervised recipe (Yosinski et al. 2014, "How
transferable are features in deep neural networks?", arXiv:1411.1792). There is no validation: the weights of the last
epoch are used, at the end of a cosine schedule, so that nothing is selected on any target.
"""

from __future__ import annotations

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import Augment, TrainingConfig
from tlbench.data.dataset import Split
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ()


class Config(TrainingConfig):
    """Parameters of supervised pre-training."""

    epochs: int = Field(20, ge=1, description="epochs over the corpus")
    batch_size: int = Field(128, ge=4, description="largest global batch")
    lr: float = Field(3e-3, gt=0, description="learning rate of all layers")
    augment: Augment = Field("shift", description="augmentation of images; flips are wrong for characters")


def pretrain(corpus: Split, backbone: Backbone, cfg: Config, ctx: Context) -> None:
    """Train the backbone in place on a labelled corpus with labels 0 ... classes - 1."""
    model = Classifier(backbone, int(corpus.labels.max()) + 1)
    groups = parameter_groups([(model.parameters(), cfg.lr)], cfg.weight_decay)
    train_classifier(model, groups, corpus, None, cfg, ctx, LoopOptions(name="pretrain"))
