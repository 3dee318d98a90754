"""What samplers and schedulers read of a search problem."""

from __future__ import annotations

from typing import Protocol

from tlbench.core.description import Trial
from tlbench.search.space import Space


class SearchView(Protocol):
    """The part of the suite's ``search:`` (:class:`tlbench.search.spec.Search`) that plug-ins may rely on."""

    @property
    def trials(self) -> int:
        """Number of whole trainings that the budget allows."""

    @property
    def parallel(self) -> int | None:
        """Most trials at a time; None without a limit."""

    @property
    def objective(self) -> str:
        """``accuracy``, or ``accuracy_and_cost``."""


class ProblemView(Protocol):
    """The part of a search problem (:class:`tlbench.search.problem.SearchProblem`) that plug-ins may rely on."""

    @property
    def key(self) -> str:
        """Hash of what decides the trials; seeds of plug-ins derive from it."""

    @property
    def space(self) -> Space:
        """What is searched."""

    @property
    def search(self) -> SearchView:
        """How it is searched."""

    def is_default(self, trial: Trial) -> bool:
        """Whether a trial trains with the default configuration throughout."""
