"""Reliability: spread over seeds, ranks without a dataset, outliers, leak checks, failures, what was not applicable."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.results import Failure
from tlbench.report.section import Content
from tlbench.report.sections import _reliability_seeds as seeds
from tlbench.report.sections._reliability_left_out import left_out_table
from tlbench.report.sections._reliability_outliers import outliers_table
from tlbench.report.sections._reliability_spread import spread_table

TITLE = "Reliability"
ORDER = 110
TABLES = ("spread", "left_out", "outliers")
FIGURES = ("seeds",)
_FAILURES = 60  # that the page shows


@dataclass(frozen=True)
class ReliabilityContext:
    """What the template reads.

    Attributes:
        failures: The first cells that failed.
        failed: The number of all of them.
    """

    failures: tuple[Failure, ...]
    failed: int


def build(report: Report) -> Content:
    """Return the figure of the leading rows' seeds, and the tables of all rows."""
    failed = report.results.failed
    return Content(
        figures=(Figure("seeds", seeds.CAPTION, seeds.frame(report.cells, report.leading.keys), seeds.chart),),
        tables=(spread_table(report.boards), left_out_table(report.boards), outliers_table(report.boards)),
        context=ReliabilityContext(failed[:_FAILURES], len(failed)),
    )
