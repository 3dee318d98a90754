"""Training a classifier of all training (base) classes, as preparation for episodes of new classes."""

from __future__ import annotations

from typing import Literal

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import TrainingConfig
from tlbench.data.dataset import Split
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.fewshot.cosine_head import CosineHead
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.recipe import Recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier


def train_base_classifier(
    backbone: Backbone,
    train: Split,
    cfg: TrainingConfig,
    recipe: Recipe,
    head: Literal["linear", "cosine"],
    scale: float,
    ctx: Context,
) -> None:
    """Train the backbone in place under a head over all training classes, which is discarded afterwards.

    The validation classes are none of these, so nothing is selected: the weights of the last epoch stay.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        train: The examples of the training classes, labels 0 ... classes - 1.
        cfg: Epochs, batch size, optimiser, schedule and regularisation.
        recipe: Learning rates, and whether running statistics move.
        head: Linear, or scaled cosines to one direction per class.
        scale: Factor of the cosines.
        ctx: Device, randomness, epochs and processes.
    """
    classes = int(train.labels.max()) + 1
    model = Classifier(backbone, classes)
    if head == "cosine":
        model.head = CosineHead(backbone.out_dim, classes, scale, ctx.generator("cosine head"))
    parts = [(backbone.parameters(), recipe.lr), (model.head.parameters(), recipe.head_lr)]
    options = LoopOptions(batch_norm=recipe.batch_norm, name="classes")
    train_classifier(model, parameter_groups(parts, cfg.weight_decay), train, None, cfg, ctx, options)
    ctx.release_wrapped()
