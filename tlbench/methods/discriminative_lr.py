"""Discriminative learning rates: the head has the largest, every layer group below it a smaller one by a factor.

Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146, section 3.2:
each layer's learning rate is that of the layer above divided by 2.6, under slanted triangular learning rates. Here a
layer is a layer group: a stage, or with ``granularity: block`` a block, as is usual for transformers, with a decay of
0.65 to 0.9.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, Schedule, TrainingConfig, choice, log_uniform, tunable, uniform
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import layerwise_rates, parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(TrainingConfig):
    """Parameters of discriminative learning rates."""

    lr: float = tunable(3e-3, log_uniform(1e-4, 1e-2), "learning rate of the head, the largest", gt=0)
    decay: float = tunable(
        1 / 2.6, uniform(0.3, 1.0), "ratio of the learning rates of a layer group and the one above", gt=0, le=1
    )
    granularity: Literal["stage", "block"] = tunable(
        "stage", choice("stage", "block"), "what a layer group is", lasting=True
    )
    schedule: Schedule = Field("slanted_triangular", description="learning rate schedule")
    batch_norm: BatchNorm = tunable("train", choice("train", "frozen"), "whether running statistics are updated")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network, with a learning rate per layer group."""
    model = Classifier(backbone, task.info.classes)
    layers = backbone.group_parameters() if cfg.granularity == "stage" else backbone.fine_groups()
    parts = layerwise_rates([*layers, list(model.head.parameters())], cfg.lr, cfg.decay)
    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, LoopOptions(batch_norm=cfg.batch_norm))
    return ModulePredictor(model, list(model.parameters()))
