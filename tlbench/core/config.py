"""The bases of settings classes, and the search distribution that a field may carry."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "linear", "slanted_triangular", "one_cycle"]
Augment = Literal["none", "shift", "shift_flip", "affine", "crop_flip"]
DomainAugment = Literal["auto", "none", "shift", "shift_flip", "affine", "crop_flip"]
Views = Literal["auto", "objects", "small_objects", "characters"]
BatchNorm = Literal["train", "frozen"]
Precision = Literal["float32", "bfloat16"]


class Settings(BaseModel):
    """Frozen, strict about unknown keys and types; the base of ``Config`` of methods and ``Options`` of protocols."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class MethodConfig(Settings):
    """Parameters of a method. Subclass it as ``Config`` in the method's file."""


def log_uniform(low: float, high: float) -> dict[str, Any]:
    """Return a search distribution, uniform in the logarithm over [low, high]."""
    return {"distribution": "log_uniform", "low": low, "high": high}


def uniform(low: float, high: float) -> dict[str, Any]:
    """Return a search distribution, uniform over [low, high]."""
    return {"distribution": "uniform", "low": low, "high": high}


def choice(*values: Any) -> dict[str, Any]:
    """Return a search distribution over a few values."""
    return {"distribution": "choice", "values": list(values)}


def tunable(
    default: Any,
    space: dict[str, Any],
    /,
    description: str = "",
    *,
    when: dict[str, tuple[Any, ...]] | None = None,
    lasting: bool = False,
    **bounds: Any,
) -> Any:
    """Return a pydantic field that carries its search distribution beside its default.

    Args:
        default: The published default.
        space: One of :func:`log_uniform`, :func:`uniform`, :func:`choice`.
        description: One line for the schema.
        when: Values of other parameters under which it counts; elsewhere a search leaves it alone.
        lasting: Whether it holds for a whole training, as what shapes the network, its answers, the groups of the
            optimiser or the course of the training does; others may change while the method trains.
        **bounds: Constraints of ``pydantic.Field`` (``ge``, ``gt``, ``le``, ``lt``).
    """
    extra: dict[str, Any] = {"space": space} | ({"when": when} if when else {})
    extra |= {"lasting": True} if lasting else {}
    return Field(default, description=description or None, json_schema_extra=extra, **bounds)


class TrainingConfig(MethodConfig):
    """What every method that trains by gradient declares alike; a subclass changes the defaults it needs."""

    epochs: int | None = Field(
        None, ge=1, description="passes over the training examples; null: 40, or as many more as make 200 steps"
    )
    batch_size: int = Field(32, ge=4, description="largest global batch")
    optimizer: Optimizer = Field("adamw", description="sgd has momentum 0.9 and wants a larger lr")
    weight_decay: float = tunable(1e-2, log_uniform(1e-6, 1e-1), "of matrices and kernels only", ge=0)
    schedule: Schedule = Field("cosine", description="how the rate rises to its peak and falls")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient of a step; null: any")
    smoothing: float = tunable(0.0, choice(0.0, 0.1), "label smoothing", ge=0, lt=1)
    augment: Augment = tunable(
        "none",
        choice("none", "shift", "affine"),
        "how training images are moved; flips are wrong for characters",
    )
    patience: int | None = Field(None, ge=1, description="epochs without improvement before stopping early")


class FineTuningConfig(TrainingConfig):
    """What every method that goes on from given weights declares alike; each gives the range of its own ``lr``.

    What is null goes by the weights: see :mod:`tlbench.training.recipe`.
    """

    lr: float | None = Field(None, gt=0, description="learning rate of what is trained besides the head")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient of a step; null: any")
    head_multiplier: float = tunable(3.0, choice(1.0, 3.0, 10.0), "rate of the head over that of the backbone", gt=0)
    batch_norm: BatchNorm | None = tunable(
        None, choice("train", "frozen"), "whether running statistics move or stay; null: they stay if published"
    )


class SelfSupervisedConfig(FineTuningConfig):
    """What every method that learns without labels first declares alike; each adds its own ``lr``.

    The inherited fields are those of the training without labels. On a task, training with its labels follows, which
    has epochs and a rate of its own and shares the rest. What only fine-tuning reads is searched
    where that follows.
    """

    then: Literal["finetune", "probe"] = Field("finetune", description="what follows on a task, with its labels")
    tune_epochs: int | None = Field(
        None, ge=1, description="passes over the labelled examples, where fine-tuning follows; null: as in finetune"
    )
    tune_lr: float | None = tunable(
        None, log_uniform(1e-5, 1e-2), "rate of the backbone in it", when={"then": ("finetune",)}, gt=0
    )
    head_multiplier: float = tunable(
        3.0,
        choice(1.0, 3.0, 10.0),
        "rate of the head over that of the backbone in it",
        when={"then": ("finetune",)},
        gt=0,
    )
    smoothing: float = tunable(0.0, choice(0.0, 0.1), "label smoothing in it", when={"then": ("finetune",)}, ge=0, lt=1)


class AdaptationConfig(MethodConfig):
    """What every method that trains on two domains declares alike; a subclass changes the defaults it needs."""

    steps: int = Field(1000, ge=1, description="steps of the optimiser")
    batch_size: int = Field(64, ge=4, description="examples of each domain in a batch; all of a smaller domain")
    lr: float = tunable(1e-2, log_uniform(1e-3, 1e-1), "rate of all layers above the backbone", gt=0)
    backbone_multiplier: float = tunable(
        0.1, choice(0.1, 1.0), "rate of the backbone over that; always 1 where its weights are random", ge=0
    )
    optimizer: Optimizer = Field("sgd", description="sgd has momentum 0.9; adamw wants a smaller lr")
    weight_decay: float = tunable(1e-3, log_uniform(1e-5, 1e-2), "of matrices and kernels only", ge=0)
    schedule: Literal["inverse", "cosine"] = Field("inverse", description="how the rate falls; inverse: (1+10p)^-0.75")
    bottleneck: int | None = Field(256, ge=1, description="width of a layer under the head; null has none")
    augment: DomainAugment = tunable(
        "none",
        choice("none", "auto", "affine"),
        "how training images are moved; auto: crops and flips of photographs, shifts of what may be characters",
    )
    checks: int = Field(10, ge=1, description="models proposed for selection, at equal distances")


class FixedWaysConfig(MethodConfig):
    """What every method that trains on episodes declares alike; without more, these have as many ways as the test."""

    episodes: int = Field(400, ge=1, description="training episodes")
    queries: int = tunable(5, choice(5, 15), "queries of each class in a training episode", ge=1)
    check_every: int = Field(50, ge=1, description="episodes between two checks on validation")
    checks: int = Field(200, ge=1, description="validation episodes of a check")
    patience: int | None = Field(None, ge=1, description="checks without improvement before stopping early")


class EpisodicConfig(FixedWaysConfig):
    """What every method declares alike that can train on more ways than the test has."""

    ways: int = tunable(20, choice(5, 20, 60), "classes in a training episode; fewer where there are fewer", ge=2)
