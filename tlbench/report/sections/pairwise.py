"""Pairwise: every two rows of a board against each other, over cells and example by example, and their mean ranks."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.sections import _pairwise_matrix as matrix
from tlbench.report.sections import _pairwise_rank_diagram as diagram
from tlbench.report.sections._pairwise_examples import examples_table
from tlbench.report.sections._pairwise_table import pairs_table

TITLE = "Pairwise"
ORDER = 80
TABLES = ("pairwise", "examples")
FIGURES = ("pairwise", "ranks")


@dataclass(frozen=True)
class PairwiseContext:
    """What the template reads: why there is no diagram of ranks."""

    no_diagram: str


def build(report: Report) -> Content:
    """Return matrix, diagram and tables of all boards."""
    return Content(
        figures=(
            Figure("pairwise", matrix.CAPTION, matrix.frame(report.boards), matrix.chart),
            Figure("ranks", diagram.CAPTION, diagram.frame(report.boards), diagram.chart),
        ),
        tables=(
            pairs_table(report.boards),
            examples_table(report.boards),
        ),
        context=PairwiseContext(diagram.absence(report.boards)),
    )
