"""The bases of settings classes, and the search distribution that a field may carry."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "linear", "slanted_triangular", "one_cycle"]
Moves = Literal["none", "shift", "shift_flip", "affine", "crop_flip"]
Augment = Literal["auto", "none", "shift", "shift_flip", "affine", "crop_flip", "randaugment"]
Mix = Literal["none", "mixup", "cutmix"]
Views = Literal["auto", "objects", "small_objects", "characters"]
BatchNorm = Literal["train", "frozen"]
Precision = Literal["float32", "bfloat16"]
Balance = Literal["none", "weights", "sampling"]


class Settings(BaseModel):
    """Frozen, strict about unknown keys and types; the base of ``Config`` of methods and ``Options`` of protocols."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class MethodConfig(Settings):
    """Parameters of a method. Subclass it as ``Config`` in the method's file."""


def without(stored: dict[str, Any], name: str, usual: Any) -> dict[str, Any]:
    """Return settings without one of them where it has its usual value, so that cells of before it keep their ids."""
    return {key: value for key, value in stored.items() if (key, value) != (name, usual)}


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


class AugmentingConfig(MethodConfig):
    """What every method that may augment its training images declares alike.

    Inputs other than images stay as they are. What ``auto`` comes to is :mod:`tlbench.training.recipe`'s to say.
    """

    augment: Augment = tunable(
        "auto",
        choice("auto", "none", "affine", "randaugment"),
        "how training images change; auto: by their kind, so that characters are never mirrored",
    )
    crop_area: float = Field(0.08, gt=0, le=1, description="smallest area of a crop, as a share of the image's")
    operations: int = Field(2, ge=1, le=14, description="randaugment: operations on an image, after the usual moves")
    magnitude: float = tunable(
        9.0, choice(5.0, 9.0, 15.0), "randaugment: their strength", when={"augment": ("randaugment",)}, ge=0, le=30
    )


class MixingConfig(AugmentingConfig):
    """What every method that trains on labelled images declares alike: these may be mixed, with their labels."""

    mix: Mix = tunable("none", choice("none", "mixup", "cutmix"), "how two training images and their labels are mixed")
    mix_alpha: float | None = tunable(
        None,
        choice(0.2, 1.0),
        "both parameters of the beta distribution of the weights; null: 0.2 for mixup, 1 for cutmix",
        when={"mix": ("mixup", "cutmix")},
        gt=0,
    )


class TrainingConfig(MixingConfig):
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
    patience: int | None = Field(None, ge=1, description="epochs without improvement before stopping early")
    balance: Balance = Field(
        "none",
        description="how classes of different size are evened out: by weights of the loss, "
        "or by drawing examples of all classes equally often",
    )

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(handler(self), "balance", "none")


class BatchNormConfig(MethodConfig):
    """What every method declares alike that goes on from given weights, whose running statistics may move or stay."""

    batch_norm: BatchNorm | None = tunable(
        None, choice("train", "frozen"), "whether running statistics move or stay; null: they stay if published"
    )


class FineTuningConfig(BatchNormConfig, TrainingConfig):
    """What every method that goes on from given weights declares alike; each gives the range of its own ``lr``.

    What is null goes by the weights: see :mod:`tlbench.training.recipe`.
    """

    lr: float | None = Field(None, gt=0, description="learning rate of what is trained besides the head")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient of a step; null: any")
    head_multiplier: float | None = tunable(
        None, choice(1.0, 3.0, 10.0, 30.0), "rate of the head over that of what is trained besides it", gt=0
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
    head_multiplier: float | None = tunable(
        None,
        choice(1.0, 3.0, 10.0, 30.0),
        "rate of the head over that of the backbone in it",
        when={"then": ("finetune",)},
        gt=0,
    )
    smoothing: float = tunable(0.0, choice(0.0, 0.1), "label smoothing in it", when={"then": ("finetune",)}, ge=0, lt=1)


class AdaptationConfig(AugmentingConfig):
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
    augment: Augment = tunable(
        "none",
        choice("none", "auto", "affine", "randaugment"),
        "how training images of both domains change; auto: by their kind",
    )
    checks: int = Field(10, ge=1, description="models proposed for selection, at equal distances")


class FixedWaysConfig(MethodConfig):
    """What every method that trains on episodes declares alike; without more, these have as many ways as the test."""

    episodes: int = Field(400, ge=1, description="training episodes")
    queries: int = tunable(5, choice(5, 15), "queries of each class in a training episode", ge=1)
    check_every: int = Field(50, ge=1, description="episodes between two checks on validation")
    checks: int = Field(200, ge=1, description="validation episodes of a check")
    patience: int | None = Field(None, ge=1, description="checks without improvement before stopping early")


class EpisodicConfig(BatchNormConfig, FixedWaysConfig):
    """What every method declares alike that can train on more ways than the test has."""

    ways: int = tunable(20, choice(5, 20, 60), "classes in a training episode; fewer where there are fewer", ge=2)
