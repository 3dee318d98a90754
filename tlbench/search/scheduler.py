"""Search schedulers: which trials of a search stop early, or change their parameters on the way.

A scheduler is one file in ``search/schedulers``, or a module behind an entry point of the group
``tlbench.search_schedulers``; its name is what a suite writes under ``scheduler``. What it may define:

* ``CHECKPOINTS`` and ``stopping_rule() -> StoppingRule``: it looks at every trial at some positions of its training, in
  ninths (:mod:`tlbench.core.segments`), and may stop it there. Every search problem has a rule of its own.
* ``population(problem, first, records) -> Population``: trials are segments of trainings, whose parameters change
  between segments.

A file that defines neither lets every trial run to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Protocol

from tlbench.core.description import Trial
from tlbench.core.errors import UserError, nearest
from tlbench.core.record import Record
from tlbench.core.segments import WHOLE, Values
from tlbench.plugins.discovery import find
from tlbench.search.problem_view import ProblemView


class StoppingRule(Protocol):
    """Decides which trials of one search problem stop early; larger values are better."""

    def observe(self, number: int, ninth: int, value: float) -> bool:
        """Note the best value of a trial up to a position, and return whether it stops there.

        Called once for every trial and checkpoint, in the order in which results come in.
        """

    def complete(self, number: int, value: float) -> None:
        """Note the value of a trial that was trained to its end."""


class Population(Protocol):
    """The trials of a search problem whose trials are segments of trainings."""

    @property
    def max_trials(self) -> int:
        """Number of trials that it comes to, as far as that is known."""

    @property
    def finalists(self) -> list[Record]:
        """The trials among which the best is chosen."""

    def trial(self, number: int) -> Trial | None:
        """Return a trial; None where it depends on trials that have not ended."""

    def extend(self) -> None:
        """Add the trials that follow from those that have ended; called whenever one has."""


MakePopulation = Callable[["ProblemView", Sequence[Values], Mapping[int, Record]], Population]


@dataclass(frozen=True)
class SchedulerPlugin:
    """What the file of a scheduler defines.

    Attributes:
        name: Its name.
        checkpoints: Ninths of a training at which it looks at a trial, ascending; empty where it stops none.
        stopping_rule: Makes the rule of one search problem; None where it stops no trial.
        population: Makes the population of a search problem from the configurations of the first generation and the
            records that are known, by number; None where a trial is a whole training.
    """

    name: str
    checkpoints: tuple[int, ...] = ()
    stopping_rule: Callable[[], StoppingRule] | None = None
    population: MakePopulation | None = None


def scheduler_names() -> tuple[str, ...]:
    """Return the names of all search schedulers."""
    return tuple(find("search_schedulers"))


def scheduler(name: str) -> SchedulerPlugin:
    """Return a search scheduler.

    Raises:
        UserError: There is none of that name, or its file does not define what it should.
    """
    plugins = find("search_schedulers")
    if name not in plugins:
        raise UserError(f"unknown search scheduler {name!r}", nearest(name, plugins))
    return _checked(name, plugins[name].load())


@cache
def _checked(name: str, module: ModuleType) -> SchedulerPlugin:
    checkpoints = getattr(module, "CHECKPOINTS", ())
    rule, population = (getattr(module, function, None) for function in ("stopping_rule", "population"))
    ascending = isinstance(checkpoints, tuple) and all(isinstance(ninth, int) for ninth in checkpoints)
    if not ascending or list(checkpoints) != sorted({n for n in checkpoints if 0 < n < WHOLE}):
        raise UserError(f"{module.__file__}: CHECKPOINTS must be an ascending tuple of ninths from 1 to {WHOLE - 1}")
    if bool(checkpoints) != (rule is not None):
        raise UserError(
            f"{module.__file__}: CHECKPOINTS and stopping_rule belong together",
            "a scheduler that stops trials defines both, one that does not defines neither",
        )
    if rule is not None and population is not None:
        raise UserError(f"{module.__file__}: a scheduler defines stopping_rule or population, not both")
    return SchedulerPlugin(name, checkpoints, rule, population)
