"""A training in legs, between which its parameters may change: which values hold up to which share of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tlbench.core.hashing import canonical

WHOLE = 9
"""A training is counted in ninths, whatever its number of epochs."""

GENERATIONS = (3, 6, WHOLE)
"""Marks at which the generations of a population end."""

Values = dict[str, Any]
Leg = Sequence[Any]
"""A mark, and the values of all that is searched up to there, whether they count or not."""
Legs = Sequence[Leg]
"""From the start of a training on; none where one configuration holds throughout."""


def epochs_until(mark: int, total: int) -> int:
    """Return the number of epochs, of all there are, before a mark."""
    return -(-mark * total // WHOLE)


def followed(legs: Legs, until: int, values: Values) -> Legs:
    """Return legs and after them some values up to a mark; a leg with the values of the one before is part of it."""
    before = legs[:-1] if legs and canonical(legs[-1][1]) == canonical(values) else legs
    return (*before, (until, values))


def before(legs: Legs, mark: int) -> Legs:
    """Return what lies before a mark."""
    starts = (0, *(until for until, _ in legs))
    return tuple((min(leg[0], mark), leg[1]) for start, leg in zip(starts, legs, strict=False) if start < mark)


def whole(legs: Legs) -> Legs:
    """Return legs of which the last holds to the end of the training; none where no other came before it."""
    return (*legs[:-1], (WHOLE, legs[-1][1])) if len(legs) > 1 else ()


def course(values: Values, legs: Legs, show: Callable[[Any], str] = canonical) -> Values:
    """Return values as people read them: of one that changed, a text of all it was and from which share on.

    Args:
        values: The values at the end.
        legs: How the training came to them.
        show: Returns one value as a text.
    """
    steps: dict[str, list[tuple[int, Any]]] = {}
    starts = (0, *(until for until, _ in legs))
    for start, (_, held) in zip(starts, legs, strict=False):
        for name, value in held.items():
            known = steps.setdefault(name, [])
            if not known or canonical(known[-1][1]) != canonical(value):
                known.append((start, value))
    changed = {name: known for name, known in steps.items() if len(known) > 1}
    return values | {
        name: " → ".join(show(value) + (f" ({_share(start)})" if start else "") for start, value in known)
        for name, known in changed.items()
    }


def _share(mark: int) -> str:
    share = Fraction(mark, WHOLE)
    return f"{share.numerator}/{share.denominator}"
