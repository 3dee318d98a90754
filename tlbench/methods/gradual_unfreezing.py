"""Gradual unfreezing: train the head first, then thaw the layer groups one after another, from the top down.

Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146, section 3.3,
which combines it with rates that fall with depth (``decay``; 1 is unfreezing alone). One optimiser holds every group
from the first step on, so that no moment is lost when another group thaws; a frozen parameter has no gradient and does
not move. Batch normalisation of a frozen group keeps its running statistics. Patience is counted from the last stage
on, so that every group has its turn.
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
from tlbench.training.supervised_loop import train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(FineTuningConfig):
    """Parameters of gradual unfreezing."""

    lr: float = tunable(1e-3, log_uniform(1e-4, 1e-2), "rate of the uppermost layer group", gt=0)
    decay: float = tunable(1.0, uniform(0.3, 1.0), "rate of a layer group over that of the one above", gt=0, le=1)
    order: Literal["top_down", "head_first", "all"] = tunable(
        "top_down",
        choice("top_down", "head_first", "all"),
        "after the head: one layer group a stage from the top, all at once, or all from the start",
        lasting=True,
    )
    epochs_per_stage: int = tunable(
        1,
        choice(1, 2, 3),
        "pace; the last stage takes the epochs that are left",
        when={"order": ("top_down", "head_first")},
        lasting=True,
        ge=1,
    )
    depth: int | None = tunable(
        None, choice(None, 1, 2), "layer groups to thaw at most; null thaws all", lasting=True, ge=1
    )
    warmup: float = tunable(
        0.1, choice(0.0, 0.1, 0.3), "share of all steps over which the rate rises", lasting=True, ge=0, lt=1
    )


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the head, then more and more of the network."""
    model = Classifier(backbone, task.info.classes)
    layers = backbone.group_parameters()
    opened = lowest_trained_groups(cfg.order, len(layers), cfg.depth)
    if len(opened) * cfg.epochs_per_stage > cfg.epochs:
        raise UserError(
            f"gradual_unfreezing: {backbone.info.label} thaws in {len(opened)} stages, which take "
            f"{len(opened) * cfg.epochs_per_stage} epochs of the {cfg.epochs} there are",
            "give more epochs, fewer epochs_per_stage, or order: head_first",
        )
    for group in layers[: opened[-1]]:
        for parameter in group:
            parameter.requires_grad_(False)
    thawing = layerwise_rates(layers, cfg.lr, cfg.decay)[opened[-1] :]
    groups = parameter_groups([*thawing, (model.head.parameters(), cfg.lr * cfg.head_multiplier)], cfg.weight_decay)
    train_classifier(
        model,
        groups,
        task.train,
        task.val,
        cfg,
        ctx,
        batch_norm=cfg.batch_norm,
        unfreeze=_thaw(layers, opened, cfg.epochs_per_stage),
        patient_from=(len(opened) - 1) * cfg.epochs_per_stage,
    )
    return ModulePredictor(model, [parameter for parameter in model.parameters() if parameter.requires_grad])


def lowest_trained_groups(order: str, layers: int, depth: int | None = None) -> list[int]:
    """Return for each stage the lowest layer group that is trained; ``layers`` stands for the head alone.

    Args:
        order: One of ``Config.order``.
        layers: Number of layer groups.
        depth: How many of them thaw at most; None is all.
    """
    last = 0 if depth is None else max(layers - depth, 0)
    return {"top_down": list(range(layers, last - 1, -1)), "head_first": [layers, last], "all": [last]}[order]


def _thaw(layers: Sequence[Sequence[nn.Parameter]], opened: Sequence[int], pace: int) -> Callable[[int], None]:
    def unfreeze(epoch: int) -> None:
        lowest = opened[min(epoch // pace, len(opened) - 1)]
        for depth, group in enumerate(layers):
            for parameter in group:
                parameter.requires_grad_(depth >= lowest)

    return unfreeze
