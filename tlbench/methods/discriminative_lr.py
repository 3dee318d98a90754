"""Discriminative learning rates: every layer group has a smaller learning rate than the one above it, by a factor.

Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146, section 3.2:
each layer's learning rate is that of the layer above divided by 2.6, under slanted triangular learning rates. Their
network has four layers; in one of any other depth the lowest group has the same share of the uppermost one's rate as
there, 2.6^-3, so that the twelve blocks of a transformer have a factor of 0.79, which is usual for them. A layer is a
layer group: a stage, or with ``granularity: block`` a block.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig, Schedule, choice, log_uniform, tunable, uniform
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import layerwise_rates, parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.recipe import fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
VERSION = 2  # lr was that of the head
_LOWEST = 2.6**-3  # rate of the lowest layer group over that of the uppermost


class Config(FineTuningConfig):
    """Parameters of discriminative learning rates."""

    lr: float | None = tunable(None, log_uniform(3e-5, 1e-2), "learning rate of the uppermost layer group", gt=0)
    decay: float | None = tunable(
        None,
        uniform(0.3, 1.0),
        "ratio of the learning rates of a layer group and the one above; null: the paper's, scaled by depth",
        gt=0,
        le=1,
    )
    granularity: Literal["stage", "block"] = tunable(
        "stage", choice("stage", "block"), "what a layer group is", lasting=True
    )
    schedule: Schedule = Field("slanted_triangular", description="learning rate schedule")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network, with a learning rate per layer group."""
    model = Classifier(backbone, task.info.classes)
    layers = backbone.group_parameters() if cfg.granularity == "stage" else backbone.fine_groups()
    recipe = fine_tuning_recipe(cfg, "network", backbone, ctx)
    decay = cfg.decay or usual_decay(len(layers))
    parts = [*layerwise_rates(layers, recipe.lr, decay), (model.head.parameters(), recipe.head_lr)]
    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, LoopOptions(batch_norm=recipe.batch_norm))
    return ModulePredictor(model, list(model.parameters()))


def usual_decay(layers: int) -> float:
    """Return the ratio of the learning rates of a layer group and the one above it, for a number of layer groups."""
    return float(_LOWEST ** (1 / max(layers - 1, 1)))
