"""What a recipe leaves open, by facts of the weights and of the label budget: one rule for all methods.

Networks with published weights are large and were trained for long, so that rates which suit a small network of one's
own destroy in a few steps what they know, and running statistics of small batches do so without any step (batch
normalisation in training mode). Networks whose weights are random, or come from a pre-training run of the suite, take
larger rates, those that suites of small networks were tuned with. The rates for published weights rest on a first part
of the study ``tests/benchmarks/defaults.py`` (cartoons of PACS, five labels of each class, one seed) and on usual
values for transformers of text; the whole of it is still to be run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig
from tlbench.core.info import BackboneInfo
from tlbench.training.context import Context

Trained = Literal["network", "low_rank", "adapters", "biases", "scales", "head", "language_model"]
"""What a method trains besides the head."""


class Rates(NamedTuple):
    """Learning rates of AdamW.

    Attributes:
        published: For weights that others published.
        own: For random weights, and for those of a pre-training run of the suite that started from such.
    """

    published: float
    own: float


RATES: dict[Trained, Rates] = {
    "network": Rates(1e-4, 1e-3),
    "low_rank": Rates(3e-4, 1e-3),
    "adapters": Rates(3e-4, 1e-3),
    "biases": Rates(1e-3, 3e-3),
    "scales": Rates(1e-3, 5e-3),
    "head": Rates(1e-2, 1e-2),
    "language_model": Rates(5e-5, 1e-3),
}

EPOCHS, LEAST_STEPS = 40, 200
"""Epochs of a training, and steps up to which epochs are added where there are few labels."""


@dataclass(frozen=True)
class Recipe:
    """What a recipe came to.

    Attributes:
        lr: Learning rate of what is trained besides the head.
        head_lr: Learning rate of the head.
        batch_norm: Whether running statistics move.
    """

    lr: float
    head_lr: float
    batch_norm: BatchNorm


def fine_tuning_recipe(
    cfg: FineTuningConfig, trained: Trained, backbone: Backbone, ctx: Context, name: str = "lr"
) -> Recipe:
    """Return the rates and the policy of batch normalisation; what the suite left open also stands in ``selected``.

    Args:
        cfg: The method's parameters.
        trained: What it trains.
        backbone: Its weights decide.
        ctx: Takes note.
        name: The name of the rate among the method's parameters.
    """
    lr = usual_rate(cfg.lr, trained, backbone.info, ctx, name)
    batch_norm = cfg.batch_norm
    if batch_norm is None:
        batch_norm = "frozen" if is_published(backbone.info) else "train"
        ctx.selected["batch_norm"] = batch_norm
    return Recipe(lr, lr * cfg.head_multiplier, batch_norm)


def usual_rate(given: float | None, trained: Trained, info: BackboneInfo, ctx: Context, name: str = "lr") -> float:
    """Return a learning rate: the given one, or that of :data:`RATES`, which then stands in the context's ``selected``.

    Args:
        given: What the suite says; None leaves it open.
        trained: What it is the rate of.
        info: Facts of the backbone.
        ctx: Takes note.
        name: The parameter's name.
    """
    if given is not None:
        return given
    rates = RATES[trained]
    found = rates.published if is_published(info) else rates.own
    ctx.selected[name] = found
    return found


def is_published(info: BackboneInfo) -> bool:
    """Return whether a backbone's weights come from outside the suite, or from pre-training that started from such."""
    weights = info.recipe["weights"]
    while weights["kind"] == "pretrain" and "after" in weights:
        weights = weights["after"]
    return weights["kind"] not in ("random", "pretrain")


def usual_epochs(given: int | None, examples: int, batch_size: int) -> int:
    """Return the number of epochs: the given one, or 40, or as many more as make 200 steps.

    Args:
        given: What the suite says; None leaves it open.
        examples: Number of training examples.
        batch_size: Examples of a step.
    """
    steps = -(-examples // batch_size)
    return given or max(EPOCHS, -(-LEAST_STEPS // steps))
