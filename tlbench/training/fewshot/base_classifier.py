"""Learns to tell the training classes apart by one classifier of them all: the other way to prepare for episodes."""

from __future__ import annotations

import gc
from typing import Literal

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import TrainingConfig
from tlbench.data.dataset import Split
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.fewshot.cosine_head import CosineHead
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import train_classifier


def train_base_classifier(
    backbone: Backbone,
    train: Split,
    recipe: TrainingConfig,
    lr: float,
    head: Literal["linear", "cosine"],
    scale: float,
    ctx: Context,
) -> None:
    """Train the backbone in place under a head over all training classes, which is then thrown away.

    Classes of validation are none of these, so nothing is selected: the weights of the last epoch stay.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        train: The examples of the training classes, labels 0 ... classes - 1.
        recipe: How to train.
        lr: Rate of all layers.
        head: Linear, or cosines to one direction a class.
        scale: Factor of the cosines.
        ctx: Device, randomness, epochs and processes.
    """
    model = Classifier(backbone, int(train.labels.max()) + 1)
    if head == "cosine":
        model.head = CosineHead(backbone.out_dim, model.head.out_features, scale, ctx.generator("cosine head"))
    groups = parameter_groups([(model.parameters(), lr)], recipe.weight_decay)
    train_classifier(model, groups, train, None, recipe, ctx, name="classes")
    if ctx.world > 1:
        gc.collect()  # no data-parallel wrapper of this training may watch the parameters in the next
