"""What a recipe leaves open, by facts of the weights and of the label budget: one rule for all methods.

Networks with published weights are large and were trained for long, so that rates which suit a small network of one's
own destroy in a few steps what they know, and running statistics of small batches do so without any step (batch
normalisation in training mode). Networks whose weights are random, or come from a pre-training run of the suite, take
larger rates. The rates come from the study ``tests/benchmarks/defaults.py``, so far with one seed: those of own weights
from three small networks (convolutional, ConvNeXt, vision transformer) at 1, 5 and 20 labels of each class, where a
third and three times a rate are worse in the mean (those of biases and scales were lowered after it); those for
published weights from cartoons of PACS at five labels, and from usual values for transformers of text. That of
embeddings is SetFit's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AugmentingConfig, BatchNorm, FineTuningConfig, Mix, MixingConfig, Moves
from tlbench.core.info import BackboneInfo
from tlbench.data.dataset import Split
from tlbench.training.augmentation.mixing import USUAL_ALPHA
from tlbench.training.augmentation.nature import natural_moves, shown
from tlbench.training.augmentation.policy import UNCHANGED, Augmentation
from tlbench.training.context import Context

Trained = Literal[
    "network",
    "low_rank",
    "adapters",
    "biases",
    "scales",
    "head",
    "language_model",
    "embedding",
    "base_classifier",
    "episodes",
]
"""What a method trains besides the head; the last two: the network, on all classes to learn from, and on episodes."""


class Rates(NamedTuple):
    """Learning rates of AdamW; on episodes, of Adam.

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
    "biases": Rates(1e-3, 1e-3),
    "scales": Rates(1e-3, 2e-3),
    "head": Rates(1e-2, 1e-2),
    "language_model": Rates(5e-5, 1e-3),
    "embedding": Rates(2e-5, 1e-3),
    "base_classifier": Rates(1e-4, 3e-3),
    "episodes": Rates(3e-5, 1e-3),
}

HEAD_MULTIPLIER = 3.0
"""Learning rate of a new head over that of what else is trained."""

HEAD_REACH = 0.4
"""Least product of a new head's rate and the width of its features, over published weights."""

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
    head_lr = usual_head_rate(cfg.head_multiplier, lr, backbone, ctx)
    return Recipe(lr, head_lr, usual_batch_norm(cfg.batch_norm, backbone.info, ctx))


def usual_head_rate(multiplier: float | None, lr: float, backbone: Backbone, ctx: Context) -> float:
    """Return the learning rate of a new head: three times that of what else is trained, and more over few features.

    A step of Adam moves an output by no more than the rate times the sum of the features' sizes, which grows with their
    number (G. Yang et al. 2022, arXiv:2203.03466, table 3). At three times the small rate of published weights a head
    over few features therefore stays short of a linear probe within a few hundred steps. On development tasks, at 3, 10
    and 30 times: MiniLM (384 features), one label of each class, 76.5, 81.4 and 82.1 (probe 81.4; two draws of each of
    two sets); EfficientNet-Lite0 (1,280 features), cartoons at 96 pixels, five labels, 70.3, 68.3 and 67.0 (probe 62.7;
    four seeds).

    Args:
        multiplier: What the suite says of the rate, over that of what else is trained; None leaves it open, and what it
            comes to then stands in the context's ``selected``.
        lr: Learning rate of what is trained besides the head.
        backbone: What the head is over.
        ctx: Takes note.
    """
    if multiplier is not None:
        return lr * multiplier
    reach = HEAD_REACH / backbone.out_dim if is_published(backbone.info) else 0.0
    found = max(lr * HEAD_MULTIPLIER, reach)
    ctx.selected["head_lr"] = found
    return found


def base_classifier_recipe(
    given: float | None, policy: BatchNorm | None, info: BackboneInfo, ctx: Context, name: str = "lr"
) -> Recipe:
    """Return the rates and the policy of batch normalisation of a classifier of all classes to learn from.

    A given rate is that of all layers. Where it is open, the head, whose weights are random, has the rate of random
    weights; what was left open then stands in the context's ``selected``.

    Args:
        given: What the suite says of the rate; None leaves it open.
        policy: What it says of batch normalisation; None leaves it open.
        info: Facts of the backbone.
        ctx: Takes note.
        name: The rate's name among the method's parameters.
    """
    lr = usual_rate(given, "base_classifier", info, ctx, name)
    head_lr = lr if given is not None else RATES["base_classifier"].own
    return Recipe(lr, head_lr, usual_batch_norm(policy, info, ctx))


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


def usual_batch_norm(given: BatchNorm | None, info: BackboneInfo, ctx: Context) -> BatchNorm:
    """Return whether running statistics move: as given, or only where the weights are not published.

    What was left open then stands in the context's ``selected``.
    """
    if given is not None:
        return given
    found: BatchNorm = "frozen" if is_published(info) else "train"
    ctx.selected["batch_norm"] = found
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


def usual_augmentation(cfg: AugmentingConfig, domains: Sequence[Split], ctx: Context) -> Augmentation:
    """Return how training images change; what ``auto`` came to then stands in the context's ``selected``.

    ``auto`` moves photographs as is usual for their size, at any budget; characters and other images without colour,
    which may be characters, stay as they are. On development tasks (part of ``tests/benchmarks/defaults.py``, at 64
    pixels, with 5 and 20 labels of each class) shifts and flips gained, on cartoons, fine-tuning 1.7 and 3.7 points,
    LoRA 4.6 and 5.1 (one seed) and a small network from random weights 6.7 and 6.0 (two seeds), and on sketches
    fine-tuning 2.9 and 3.7; crops and flips gained fine-tuning 0 to 5.4, and 4.0 at 80 pixels. On printed digits, over
    three seeds, shifts lost 1.2 and 1.7 points of fine-tuning and 3.3 and 4.2 of LoRA, and affine moves gained 3 of
    fine-tuning at 5 labels and lost 3 at 20. RandAugment follows the usual moves of either kind.

    Args:
        cfg: The method's parameters.
        domains: What it trains on, one domain or several that change alike; inputs other than images stay.
        ctx: Says whether images are known to show characters, and what is read of them; takes note.
    """
    if any(split.x.ndim != 4 for split in domains):
        return UNCHANGED
    operations = cfg.operations if cfg.augment == "randaugment" else 0
    moves: Moves
    if cfg.augment == "auto":
        usual = natural_moves([shown(split.x) for split in domains], ctx.characters)
        moves = "none" if usual == "shift" else usual
        ctx.selected["augment"] = moves
    elif cfg.augment == "randaugment":
        moves = natural_moves([shown(split.x) for split in domains], ctx.characters)
    else:
        moves = cfg.augment
    return Augmentation(moves, cfg.crop_area, operations, cfg.magnitude, *_mixing(cfg), ctx.crop_fraction)


def _mixing(cfg: AugmentingConfig) -> tuple[Mix, float]:
    """Return how images are mixed, and the parameter of the weights."""
    if not isinstance(cfg, MixingConfig) or cfg.mix == "none":
        return "none", 1.0
    return cfg.mix, cfg.mix_alpha or USUAL_ALPHA[cfg.mix]
