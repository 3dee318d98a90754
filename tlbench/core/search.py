"""What a suite says of hyper-parameter search: the budget, how it is spent, and what is searched over."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tlbench.core.config import Settings
from tlbench.core.config import choice as choice_of
from tlbench.core.config import log_uniform as log_uniform_over
from tlbench.core.config import uniform as uniform_over


class Distribution(Settings):
    """What a parameter is searched over: one of ``choice``, ``uniform`` and ``log_uniform``."""

    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_sensible(self) -> Distribution:
        if len(self.model_fields_set) != 1:
            raise ValueError("must be one of choice: [...], uniform: [low, high], log_uniform: [low, high]")
        low, high = self.uniform or self.log_uniform or (1.0, 2.0)
        if low >= high:
            raise ValueError(f"the low end {low:g} must be below the high end {high:g}")
        if self.log_uniform and low <= 0:
            raise ValueError(f"the low end {low:g} of log_uniform must be above 0")
        return self

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values that stand in the file."""
        return self.choice or self.uniform or self.log_uniform or ()

    @property
    def space(self) -> dict[str, Any]:
        """The same in the form that a method's fields carry (see :mod:`tlbench.core.config`)."""
        if self.choice is not None:
            return choice_of(*self.choice)
        if self.uniform is not None:
            return uniform_over(*self.uniform)
        assert self.log_uniform is not None
        return log_uniform_over(*self.log_uniform)


class Search(Settings):
    """Hyper-parameter search, with the same budget for every method."""

    trials: int = Field(16, ge=1, description="configurations tried for each method in each setting")
    gpu_seconds: float | None = Field(None, gt=0, description="cap on the seconds of one search, all trials together")
    scheduler: Literal["fifo", "asha", "hyperband", "pbt", "pb2"] = Field("asha", description="which trials end early")
    searcher: Literal["random", "optuna"] = Field("random", description="what proposes the configurations")
    space: dict[str, dict[str, Distribution]] = Field(
        default_factory=dict, description="by method and parameter, in place of what the method declares"
    )

    @model_validator(mode="after")
    def _one_proposer(self) -> Search:
        if self.scheduler in ("pbt", "pb2") and self.searcher != "random":
            raise ValueError(f"scheduler {self.scheduler} proposes configurations itself: leave searcher at random")
        return self
