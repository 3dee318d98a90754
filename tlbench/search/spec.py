"""What a suite says of hyper-parameter search: the budget, how it is spent, and what is searched over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from tlbench.core.config import Settings
from tlbench.core.config import choice as choice_of
from tlbench.core.config import log_uniform as log_uniform_over
from tlbench.core.config import uniform as uniform_over
from tlbench.core.errors import UnknownNameError, nearest
from tlbench.search.sampler import sampler, sampler_names
from tlbench.search.scheduler import scheduler, scheduler_names

_CONDITION: dict[str, Any] = {
    "description": "values of other parameters under which this one is searched",
    "type": "object",
}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: tuple(each) if isinstance(each, (list, tuple)) else (each,) for key, each in value.items()}


class Distribution(Settings):
    """What a parameter is searched over: one of ``choice``, ``uniform`` and ``log_uniform``, and when."""

    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    when: Annotated[dict[str, tuple[Any, ...]], BeforeValidator(_listed), WithJsonSchema(_CONDITION)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_sensible(self) -> Distribution:
        if len(self.model_fields_set - {"when"}) != 1:
            raise ValueError("must be one of choice: [...], uniform: [low, high], log_uniform: [low, high]")
        low, high = self.uniform or self.log_uniform or (1.0, 2.0)
        if low >= high:
            raise ValueError(f"the low end {low:g} must be below the high end {high:g}")
        if self.log_uniform and low <= 0:
            raise ValueError(f"the low end {low:g} of log_uniform must be above 0")
        return self

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values that stand in the file; the ends of a range are whole numbers where they can be."""
        if self.choice is not None:
            return self.choice
        ends = self.uniform or self.log_uniform or ()
        return tuple(int(end) if end.is_integer() else end for end in ends)

    @property
    def space(self) -> dict[str, Any]:
        """The same in the form that a method's fields carry (see :mod:`tlbench.core.config`)."""
        if self.choice is not None:
            return choice_of(*self.choice)
        if self.uniform is not None:
            return uniform_over(*self.uniform)
        assert self.log_uniform is not None
        return log_uniform_over(*self.log_uniform)


def _known(names: Callable[[], tuple[str, ...]]) -> Callable[[str], str]:
    """Return a validator that refuses what is not among some names."""

    def check(name: str) -> str:
        if name in names():
            return name
        *others, last = map(repr, names())
        raise UnknownNameError(f"must be {', '.join(others)} or {last}, not {name!r}", nearest(name, names()))

    return check


class Search(Settings):
    """Hyper-parameter search, with the same budget for every method."""

    trials: int = Field(
        16, ge=1, description="configurations tried for each method in each setting and seed, the default first"
    )
    gpu_seconds: float | None = Field(
        None, gt=0, description="no further trial starts in a search that has used so many (of CPUs without a GPU)"
    )
    scheduler: Annotated[str, AfterValidator(_known(scheduler_names))] = Field(
        "asha",
        description="which trials end early: none, successive halving, those below the median; with pbt none, but at "
        "each third of the training the worst go on from the best, with other values",
        json_schema_extra=lambda schema: schema.update(enum=list(scheduler_names())),
    )
    searcher: Annotated[str, AfterValidator(_known(sampler_names))] = Field(
        "random",
        description="what proposes the configurations; optuna learns from the trials before",
        json_schema_extra=lambda schema: schema.update(enum=list(sampler_names())),
    )
    objective: Literal["accuracy", "accuracy_and_cost"] = Field(
        "accuracy", description="with cost: the cheapest (fewest device-seconds) of those within one point of the best"
    )
    parallel: int | None = Field(
        None,
        ge=1,
        description="trials of one search that run at once; by default 1 where a trial depends on those before, "
        "so that the same suite gives the same trials on any cluster, and any number where none does",
    )
    declared: bool = Field(True, description="whether what space does not name is searched as the method declares")
    fold_below: int = Field(
        50,
        ge=0,
        description="with fewer validation examples than this, a trial is trained once for each of five folds of its "
        "labels, and validated on all of them; 0 never folds",
    )
    space: dict[str, dict[str, Distribution]] = Field(
        default_factory=dict, description="by method and parameter, in place of what the method declares"
    )

    @property
    def independent(self) -> bool:
        """Whether no trial depends on the result of another that could run beside it."""
        return not sampler(self.searcher).learns and not scheduler(self.scheduler).checkpoints
