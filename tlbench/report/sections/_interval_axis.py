"""The axis on which the intervals of a board are drawn, in the summary and in the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from tlbench.report.rows.leaderboard import LeaderRow


@dataclass(frozen=True)
class Axis:
    """The axis on which intervals are drawn; its ends are scores, multiples of 5 points."""

    low: float
    high: float

    def position(self, value: float) -> float:
        """Return where a value lies on the axis, in percent of its length."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)


def axis(rows: Sequence[LeaderRow]) -> Axis:
    """Return the axis of rows, at least one, which all their intervals fit on."""
    lows = [row.accuracy.mean if row.accuracy.low is None else row.accuracy.low for row in rows]
    highs = [row.accuracy.mean if row.accuracy.high is None else row.accuracy.high for row in rows]
    low, high = floor(20 * min(lows)) / 20, ceil(20 * max(highs)) / 20
    return Axis(low, max(high, low + 0.05))
