"""Independent random draws from the space, each configuration once.

Bergstra & Bengio 2012, "Random Search for Hyper-Parameter Optimization", JMLR 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.segments import Values
from tlbench.search.problem import SearchProblem

_DRAWS = 50  # for a configuration that is new, before the space counts as exhausted


def configurations(problem: SearchProblem) -> Iterator[Values]:
    """Yield configurations other than the default one, until no new one is drawn."""
    seen = {canonical(problem.space.start)}
    generator = Random(derive_seed(problem.key, "configurations"))
    while True:
        for _ in range(_DRAWS):
            values = problem.space.draw(generator)
            if canonical(values) not in seen:
                break
        else:
            return
        seen.add(canonical(values))
        yield values
