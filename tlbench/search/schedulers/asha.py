"""Asynchronous successive halving: only the best third of the trials goes on at a ninth, and at a third.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", arXiv:1810.05934, section 3.2, in the form that
stops trials and promotes none: at a rung, a trial goes on if its value is at least the 2/3 quantile of the values that
reached the rung before it.
"""

from __future__ import annotations

import numpy as np

CHECKPOINTS = (1, 3)
_PERCENTILE = (1 - 1 / 3) * 100  # one of three goes on


class SuccessiveHalving:
    """The rungs of one search problem: the value of every trial that came to them."""

    def __init__(self) -> None:
        self._rungs: dict[int, dict[int, float]] = {ninth: {} for ninth in CHECKPOINTS}

    def observe(self, number: int, ninth: int, value: float) -> bool:
        """Enter a trial at a rung, and return whether it stops there."""
        rung = self._rungs[ninth]
        stops = bool(rung) and value < float(np.nanpercentile(list(rung.values()), _PERCENTILE))
        rung.setdefault(number, value)
        return stops

    def complete(self, number: int, value: float) -> None:
        """Ignore the end of a trial: it is no rung."""


def stopping_rule() -> SuccessiveHalving:
    """Return the rule of one search problem."""
    return SuccessiveHalving()
