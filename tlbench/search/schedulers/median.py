"""Median stopping: a trial stops where its best value is below the median of the other trials' running means.

Golovin et al. 2017, "Google Vizier: A Service for Black-Box Optimization", KDD, section 3.2.2.
"""

from __future__ import annotations

import numpy as np

from tlbench.core.segments import WHOLE

CHECKPOINTS = tuple(range(1, WHOLE))
_LEAST = 3  # other trials that have come as far, before there is a median


class MedianRule:
    """The values of every trial of one search problem, by position."""

    def __init__(self) -> None:
        self._values: dict[int, list[tuple[int, float]]] = {}

    def observe(self, number: int, ninth: int, value: float) -> bool:
        """Note a value, and return whether the trial stops."""
        own = self._values.setdefault(number, [])
        own.append((ninth, value))
        reached = [
            [each for position, each in values if position <= ninth]
            for other, values in self._values.items()
            if other != number and values[-1][0] >= ninth
        ]
        means = [np.mean(values) for values in reached if values]
        return len(means) >= _LEAST and max(each for _, each in own) < float(np.median(means))

    def complete(self, number: int, value: float) -> None:
        """Note the value at the end."""
        self._values.setdefault(number, []).append((WHOLE, value))


def stopping_rule() -> MedianRule:
    """Return the rule of one search problem."""
    return MedianRule()
