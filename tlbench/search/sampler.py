"""Samplers: what proposes the configurations of a search.

A sampler is one file in ``search/samplers``, or a module behind an entry point of the group ``tlbench.samplers``; its
name is what a suite writes under ``searcher``. It defines one of two functions:

* ``configurations(problem) -> Iterator[Values]``: where no proposal depends on the result of a trial. It yields
  configurations other than the default one, in the order in which they are tried, and may be infinite.
* ``create(problem) -> Sampler``: where it learns from trials.

Modules of samplers are imported to plan a suite: they import large libraries inside their functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Protocol

from tlbench.core.errors import UserError, nearest
from tlbench.core.record import Record
from tlbench.core.segments import Values
from tlbench.plugins.discovery import find
from tlbench.search.problem_view import ProblemView


class Sampler(Protocol):
    """Proposes configurations by the trials so far; the same trials in the same order give the same proposals."""

    def propose(self, number: int) -> Values:
        """Return the values of the active parameters of a trial; the same when asked for the same trial again."""

    def observe(self, number: int, values: Values, record: Record) -> None:
        """Learn how a trial ended, whether or not it was proposed here, as the default configuration is not."""


@dataclass(frozen=True)
class SamplerPlugin:
    """What the file of a sampler defines: one of the two, and None for the other."""

    name: str
    configurations: Callable[[ProblemView], Iterator[Values]] | None
    create: Callable[[ProblemView], Sampler] | None

    @property
    def learns(self) -> bool:
        """Whether its proposals depend on the results of trials."""
        return self.create is not None


def sampler_names() -> tuple[str, ...]:
    """Return the names of all samplers."""
    return tuple(find("samplers"))


def sampler(name: str) -> SamplerPlugin:
    """Return a sampler.

    Raises:
        UserError: There is none of that name, or its file defines neither function, or both.
    """
    plugins = find("samplers")
    if name not in plugins:
        raise UserError(f"unknown sampler {name!r}", nearest(name, plugins))
    return _checked(name, plugins[name].load())


@cache
def _checked(name: str, module: ModuleType) -> SamplerPlugin:
    functions = [function for function in ("configurations", "create") if callable(getattr(module, function, None))]
    if len(functions) != 1:
        found = "both" if functions else "neither"
        raise UserError(
            f"{module.__file__}: a sampler defines configurations(problem) or create(problem); {name} defines {found}",
            "configurations where no proposal depends on a result, create where it learns from trials",
        )
    configurations, create = (getattr(module, function, None) for function in ("configurations", "create"))
    return SamplerPlugin(name, configurations, create)
