"""All tables of one report."""

from __future__ import annotations

from tlbench.report.report_data import Report
from tlbench.report.sections._backbones_orderings import orderings_sheet
from tlbench.report.sections._datasets_paper_table import paper_sheet
from tlbench.report.sections._overview_tables import choices_sheet, leaderboard_sheet, settings_sheet
from tlbench.report.sections._pairwise_tables import examples_sheet, pairs_sheet
from tlbench.report.sections._provenance_reproduction import reproduction_sheet, reproductions
from tlbench.report.sections._reliability_tables import left_out_sheet, outliers_sheet, spread_sheet
from tlbench.report.sections._search_rows import searched
from tlbench.report.sections._search_table import search_sheet
from tlbench.report.table import Sheet
from tlbench.report.trials import spent

_ALWAYS = ("leaderboard", "settings")  # a suite without a result has these files all the same


TABLES = (
    "leaderboard", "settings", "datasets", "orderings", "search", "pairwise", "examples", "adaptation", "spread",
    "left_out", "outliers", "reproduction",
)  # fmt: skip


def sheets(report: Report) -> dict[str, Sheet]:
    """Return the tables that have a row, by name."""
    boards, results = report.boards, report.results
    found = (
        leaderboard_sheet(boards, spent(report.settings, results.trials)),
        settings_sheet(report.settings),
        paper_sheet(boards),
        orderings_sheet(boards),
        search_sheet(searched(report.settings, results.trials)),
        pairs_sheet(boards),
        examples_sheet(boards, report.cells, results.attached),
        choices_sheet(report.choices),
        spread_sheet(boards),
        left_out_sheet(boards),
        outliers_sheet(boards),
        reproduction_sheet(reproductions(report.suites, report.cells)),
    )
    return {sheet.name: sheet for sheet in found if sheet or sheet.name in _ALWAYS}
