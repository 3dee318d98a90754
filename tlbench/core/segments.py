"""Segments of a training: stretches between two points at which a scheduler may change its parameters.

Positions in a training are counted in ninths, whatever its number of epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from tlbench.core.hashing import canonical

WHOLE = 9
"""The end of a training, in ninths."""

GENERATIONS = (3, 6, WHOLE)
"""Ninths at which the generations of a population end."""

Values = dict[str, Any]


class Segment(NamedTuple):
    """A stretch of a training with constant parameters; it begins where the segment before it ends.

    Attributes:
        until: Where it ends, in ninths of the training.
        values: Of all parameters that are searched, active or not.
    """

    until: int
    values: Values


Segments = tuple[Segment, ...]
"""From the start of a training on; empty where one configuration holds throughout."""


def epochs_until(ninth: int, total: int) -> int:
    """Return the number of epochs, of ``total``, that lie before a position."""
    return -(-ninth * total // WHOLE)


def append_segment(segments: Segments, until: int, values: Values) -> Segments:
    """Return segments with one more at the end, which extends the last one if the values are the same."""
    before = segments[:-1] if segments and canonical(segments[-1].values) == canonical(values) else segments
    return (*before, Segment(until, values))


def segments_before(segments: Segments, ninth: int) -> Segments:
    """Return what lies before a position."""
    starts = (0, *(segment.until for segment in segments))
    pairs = zip(starts, segments, strict=False)
    return tuple(Segment(min(segment.until, ninth), segment.values) for start, segment in pairs if start < ninth)


def extend_to_end(segments: Segments) -> Segments:
    """Return segments of which the last one lasts to the end of the training; none where there is only one."""
    return (*segments[:-1], Segment(WHOLE, segments[-1].values)) if len(segments) > 1 else ()


def describe_course(
    values: Values, segments: Sequence[tuple[int, Values]], show: Callable[[Any], str] = canonical
) -> Values:
    """Return values for people: one that changed becomes a text of its values and of where each one began.

    Args:
        values: The values at the end.
        segments: The segments of the training.
        show: Returns one value as a text.
    """
    steps: dict[str, list[tuple[int, Any]]] = {}
    starts = (0, *(until for until, _ in segments))
    for start, (_, current) in zip(starts, segments, strict=False):
        for name, value in current.items():
            known = steps.setdefault(name, [])
            if not known or canonical(known[-1][1]) != canonical(value):
                known.append((start, value))
    changed = {name: known for name, known in steps.items() if len(known) > 1}
    return values | {
        name: " → ".join(show(value) + (f" ({_fraction(start)})" if start else "") for start, value in known)
        for name, known in changed.items()
    }


def _fraction(ninth: int) -> str:
    fraction = Fraction(ninth, WHOLE)
    return f"{fraction.numerator}/{fraction.denominator}"
