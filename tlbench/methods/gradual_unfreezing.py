"""Gradual unfreezing: train the head first, then unfreeze the layer groups one after another, from the top down.

Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146, section 3.3,
which combines it with learning rates that decrease with depth (``decay``; 1 is unfreezing alone). One optimiser has all
groups from the first step on, so that its moments are kept when another group is unfrozen; a frozen parameter has no
gradient and does not change. Batch normalisation of a frozen group keeps its running statistics. Patience counts from
the last stage on, so that every group is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig, choice, log_uniform, tunable, uniform
from tlbench.core.errors import UserError
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import layerwise_rates, parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.recipe import fine_tuning_recipe, usual_epochs
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(FineTuningConfig):
    """Parameters of gradual unfreezing."""

    lr: float | None = tunable(None, log_uniform(1e-5, 1e-2), "learning rate of the uppermost layer group", gt=0)
    decay: float = tunable(
        1.0, uniform(0.3, 1.0), "ratio of the learning rates of a layer group and the one above", gt=0, le=1
    )
    order: Literal["top_down", "head_first", "all"] = tunable(
        "top_down",
        choice("top_down", "head_first", "all"),
        "after the head: one layer group per stage from the top, all at once, or all from the start",
        lasting=True,
    )
    epochs_per_stage: int = tunable(
        1,
        choice(1, 2, 3),
        "epochs of a stage; the last stage takes all remaining epochs",
        when={"order": ("top_down", "head_first")},
        lasting=True,
        ge=1,
    )
    depth: int | None = tunable(
        None, choice(None, 1, 2), "most layer groups to unfreeze; null unfreezes all", lasting=True, ge=1
    )
    warmup: float = tunable(
        0.1, choice(0.0, 0.1, 0.3), "fraction of all steps over which the learning rate rises", lasting=True, ge=0, lt=1
    )


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the head, then more and more layer groups."""
    model = Classifier(backbone, task.info.classes)
    layers = backbone.group_parameters()
    recipe = fine_tuning_recipe(cfg, "network", backbone, ctx)
    stages = lowest_trained_groups(cfg.order, len(layers), cfg.depth)
    epochs = usual_epochs(cfg.epochs, len(task.train), cfg.batch_size)
    if len(stages) * cfg.epochs_per_stage > epochs:
        raise UserError(
            f"gradual_unfreezing: {backbone.info.label} thaws in {len(stages)} stages, which take "
            f"{len(stages) * cfg.epochs_per_stage} epochs of the {epochs} there are",
            "give more epochs, fewer epochs_per_stage, or order: head_first",
        )
    for group in layers[: stages[-1]]:
        for parameter in group:
            parameter.requires_grad_(False)
    unfrozen = layerwise_rates(layers, recipe.lr, cfg.decay)[stages[-1] :]
    groups = parameter_groups([*unfrozen, (model.head.parameters(), recipe.head_lr)], cfg.weight_decay)
    options = LoopOptions(
        batch_norm=recipe.batch_norm,
        begin_epoch=_unfreezing(layers, stages, cfg.epochs_per_stage),
        patience_start=(len(stages) - 1) * cfg.epochs_per_stage,
    )
    train_classifier(model, groups, task.train, task.val, cfg, ctx, options)
    return ModulePredictor(model, [parameter for parameter in model.parameters() if parameter.requires_grad])


def lowest_trained_groups(order: str, layers: int, depth: int | None = None) -> list[int]:
    """Return for each stage the lowest layer group that is trained; ``layers`` stands for the head alone.

    Args:
        order: One of ``Config.order``.
        layers: Number of layer groups.
        depth: Largest number of layer groups to unfreeze; None is all.
    """
    last = 0 if depth is None else max(layers - depth, 0)
    return {"top_down": list(range(layers, last - 1, -1)), "head_first": [layers, last], "all": [last]}[order]


def _unfreezing(
    layers: Sequence[Sequence[nn.Parameter]], stages: Sequence[int], epochs_per_stage: int
) -> Callable[[int], None]:
    """Return a function that freezes and unfreezes layer groups for an epoch."""

    def unfreeze(epoch: int) -> None:
        lowest = stages[min(epoch // epochs_per_stage, len(stages) - 1)]
        for depth, group in enumerate(layers):
            for parameter in group:
                parameter.requires_grad_(depth >= lowest)

    return unfreeze
