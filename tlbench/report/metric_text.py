"""Scores as people read them under the metric that a suite chose: its label, unit and direction.

Within the report a score is larger where it is better, so that one of which smaller is better is negative.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.plugins.metrics import metric_declaration
from tlbench.report import number_format as text
from tlbench.stats.intervals import Estimate


@dataclass(frozen=True)
class MetricText:
    """How the scores of one metric are told.

    Attributes:
        label: What people call it.
        sign: 1, or -1 where smaller is better.
        in_percent: Whether it is told in percent; else as it is.
    """

    label: str
    sign: int
    in_percent: bool

    @property
    def heading(self) -> str:
        """The heading of a column of scores: ``accuracy``, ``log loss (smaller is better)``."""
        return self.label + " (smaller is better)" * (self.sign < 0)

    @property
    def heading_with_unit(self) -> str:
        """The heading with the unit: ``accuracy in percent``."""
        return self.heading + " in percent" * self.in_percent

    def score(self, score: float | None) -> str:
        """Return a score as ``93.4``; one that is not in percent as ``0.412``."""
        if score is None:
            return text.NONE
        return text.percent(self.sign * score) if self.in_percent else f"{self.sign * score:.3f}"

    def interval(self, estimate: Estimate) -> str:
        """Return ``92.1 to 94.6``, the smaller number first, or a dash where there is no interval."""
        if estimate.low is None:
            return text.NONE
        ends = (estimate.low, estimate.high) if self.sign > 0 else (estimate.high, estimate.low)
        return " to ".join(map(self.score, ends))


def metric_text(name: str) -> MetricText:
    """Return how the scores of a metric are told.

    Raises:
        UserError: There is no metric of this name here.
    """
    declared = metric_declaration(name)
    return MetricText(declared.constants.LABEL, declared.sign, declared.constants.UNIT == "percent")


def natural_scores(estimate: Estimate, metric: str) -> tuple[float, float | None, float | None]:
    """Return the mean of an estimate and the lower and upper end of its interval, as the metric itself counts."""
    sign = metric_declaration(metric).sign
    ends = [None if end is None else sign * end for end in (estimate.low, estimate.high)]
    low, high = ends if sign > 0 else ends[::-1]
    return sign * estimate.mean, low, high
