"""Search: every trial's validation score, and the values that were chosen in each setting beside the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tlbench.report import chart_style
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.sections import _search_figure as figure
from tlbench.report.sections._search_gain import gain_table, search_gains
from tlbench.report.sections._search_rows import SearchRow, search_rows
from tlbench.report.sections._search_scores import name_and_unit, score_text
from tlbench.report.sections._search_table import DEFAULT, NOTE, NOTHING, search_table, values_text

TITLE = "Search"
ORDER = 70
TABLES = ("search_gain", "search")
FIGURES = ("search",)


@dataclass(frozen=True)
class Change:
    """A changed parameter in words."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class SearchLine:
    """A row of the page's table, in words.

    Attributes:
        row: The numbers.
        changes: Parameters that differ from the default.
        default_score: In its unit.
        winner_score: In its unit.
        best_score: Likewise, where the default was kept although another was better; else empty.
    """

    row: SearchRow
    changes: tuple[Change, ...]
    default_score: str
    winner_score: str
    best_score: str = ""


@dataclass(frozen=True)
class SearchGroup:
    """Settings in which methods met: rows of one protocol, dataset, number of shots, backbone and criterion."""

    protocol: str
    dataset: str
    shots: str
    backbone: str
    criterion: str
    lines: tuple[SearchLine, ...]


@dataclass(frozen=True)
class SearchContext:
    """What the template reads.

    Attributes:
        rows: All searches, one a setting and seed.
        axes: What the figure's horizontal axis may be, by column.
        most_panels: Settings that the figure shows at most.
        note: What a reader must know of the table.
        nothing: Said where no trial was trained to its end.
        default: Said where the default won.
    """

    rows: tuple[SearchRow, ...]
    axes: Mapping[str, str] = field(default_factory=lambda: figure.AXES)
    most_panels: int = chart_style.MOST_PANELS
    note: str = NOTE
    nothing: str = NOTHING
    default: str = DEFAULT

    def groups(self, most: int) -> tuple[SearchGroup, ...]:
        """Return the first rows, by the setting that they have but for the method.

        Args:
            most: Number of rows.
        """
        found: dict[tuple[str, str, str, str, str], list[SearchLine]] = {}
        for row in self.rows[:most]:
            key = (row.protocol, row.dataset, row.shots, row.backbone, row.criterion)
            found.setdefault(key, []).append(_line(row))
        return tuple(
            SearchGroup(*key[:4], criterion=name_and_unit(key[4]), lines=tuple(lines)) for key, lines in found.items()
        )


def build(report: Report) -> Content:
    """Return the figure and the tables of all searched settings."""
    rows = search_rows(report.cells, report.results.trials)
    gains = gain_table(search_gains(report.cells, report.results.untuned, rows, report.results.details))
    return Content(
        figures=(Figure("search", figure.CAPTION, figure.frame(report.results.trials), figure.chart),),
        tables=(gains, search_table(rows)),
        context=SearchContext(rows),
    )


def _line(row: SearchRow) -> SearchLine:
    return SearchLine(
        row=row,
        changes=tuple(Change(each.name, values_text(each.before), values_text(each.after)) for each in row.changes),
        default_score=score_text(row.criterion, row.default_score),
        winner_score=score_text(row.criterion, row.winner_score),
        best_score=score_text(row.criterion, row.best_score) if _is_beaten(row) else "",
    )


def _is_beaten(row: SearchRow) -> bool:
    return row.best_score is not None and row.winner_score is not None and row.best_score > row.winner_score
