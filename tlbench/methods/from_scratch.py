"""Training from scratch: the same network and loop as fine-tuning, from random weights.

The lower bound of every comparison of transfer methods: the result of the labels alone (He, Girshick and Dollar 2019,
"Rethinking ImageNet Pre-training", arXiv:1811.08883). It needs a backbone with random weights, which come from
the architecture's own initialisation under the cell's seed.
"""

from __future__ import annotations

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import TrainingConfig, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.supervised_loop import train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(TrainingConfig):
    """Parameters of training from scratch."""

    lr: float = tunable(3e-3, log_uniform(1e-4, 1e-2), "learning rate of all layers", gt=0)


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse weights that would not be used: the cell would repeat the one with random weights."""
    return None if backbone.weights == "random" else "list the architecture with random weights: others are not used"


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the randomly initialised backbone and a head."""
    model = Classifier(backbone, task.info.classes)
    groups = parameter_groups([(model.parameters(), cfg.lr)], cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx)
    return ModulePredictor(model, list(model.parameters()))
