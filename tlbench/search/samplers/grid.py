"""Every configuration of the grid, the last dimensions moving fastest."""

from __future__ import annotations

from collections.abc import Iterator

from tlbench.core.hashing import canonical
from tlbench.core.segments import Values
from tlbench.search.problem import SearchProblem


def configurations(problem: SearchProblem) -> Iterator[Values]:
    """Yield the configurations of the grid but the default one."""
    default = canonical(problem.space.start)
    yield from (values for values in problem.space.grid() if canonical(values) != default)
