"""Discriminative learning rates: the head learns fastest, every layer group below it by a factor more slowly.

Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146, section 3.2:
each layer's rate is that of the one above divided by 2.6, under slanted triangular rates. Here a layer is a layer
group: a stage, or with ``granularity: block`` a block, as is usual for transformers, with a decay of 0.65 to 0.9.
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
from tlbench.training.supervised_loop import train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(TrainingConfig):
    """Parameters of discriminative learning rates."""

    lr: float = tunable(3e-3, log_uniform(1e-4, 1e-2), "rate of the head, the largest", gt=0)
    decay: float = tunable(1 / 2.6, uniform(0.3, 1.0), "rate of a layer group over that of the one above", gt=0, le=1)
    granularity: Literal["stage", "block"] = tunable(
        "stage", choice("stage", "block"), "what a layer group is", lasting=True
    )
    schedule: Schedule = Field("slanted_triangular", description="how the rate rises to its peak and falls")
    batch_norm: BatchNorm = tunable("train", choice("train", "frozen"), "whether running statistics move or stay")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network, each depth at its own rate."""
    model = Classifier(backbone, task.info.classes)
    layers = backbone.group_parameters() if cfg.granularity == "stage" else backbone.fine_groups()
    parts = layerwise_rates([*layers, list(model.head.parameters())], cfg.lr, cfg.decay)
    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, batch_norm=cfg.batch_norm)
    return ModulePredictor(model, list(model.parameters()))
