"""Datasets: a heat map, the table of a paper, and every setting with its interval."""

from __future__ import annotations

from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.sections import _datasets_heat as heat
from tlbench.report.sections._datasets_paper_table import paper_table
from tlbench.report.sections._datasets_settings_table import settings_table

TITLE = "Datasets"
ORDER = 30
TABLES = ("settings", "datasets")
FIGURES = ("heat",)


def build(report: Report) -> Content:
    """Return the heat map of the leading rows, and the tables of all rows."""
    return Content(
        figures=(Figure("heat", heat.CAPTION, heat.frame(report.leading.settings), heat.chart),),
        tables=(settings_table(report.settings), paper_table(report.boards)),
    )
