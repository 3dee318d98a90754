"""Leaderboard: methods on backbones by their mean accuracy over datasets and shots, with intervals and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from tlbench.report.leading_rows import RowKey
from tlbench.report.pretraining_runs import rows_on_one_run
from tlbench.report.published import PublishedRow, marks
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import MOST_COMPARED, Board
from tlbench.report.rows.settings import SettingRow
from tlbench.report.search_cost import SearchCost, search_costs
from tlbench.report.section import Content
from tlbench.report.sections._adaptation_rankings import TwoRankings, two_rankings
from tlbench.report.sections._interval_axis import Axis, axis
from tlbench.report.sections._leaderboard_table import leaderboard_table
from tlbench.report.trials import setting_name

TITLE = "Leaderboard"
ORDER = 20
TABLES = ("leaderboard",)
FIGURES = ()


@dataclass(frozen=True)
class LeaderboardContext:
    """What the template of the leaderboard reads.

    Attributes:
        axes: One a board.
        trainings: Trainings that a search spent on a row.
        rankings: By protocol and datasets of a board, where validators of adaptation rank it.
        searches: What they took.
        on_one_run: Rows that rest on one pre-training run, whose luck their intervals do not contain.
        most_compared: Rows from which on a board has no ranks by pairs.
        published: How many published figures agree with a row, in words; of rows that have any.
        figures: The published figures that stand beside rows, one tuple a board.
    """

    axes: tuple[Axis, ...]
    trainings: Mapping[RowKey, int]
    rankings: Mapping[tuple[str, tuple[str, ...]], TwoRankings]
    searches: Mapping[RowKey, SearchCost]
    on_one_run: frozenset[RowKey] = frozenset()
    most_compared: int = MOST_COMPARED
    published: Mapping[RowKey, str] = field(default_factory=dict)
    figures: tuple[tuple[PublishedRow, ...], ...] = ()


def build(report: Report) -> Content:
    """Return the table of all boards; the template draws them with their axes."""
    trainings = trainings_of_rows(report.settings, report.results.trials)
    searches = search_costs(report.settings, report.results.trials)
    return Content(
        tables=(leaderboard_table(report.boards, trainings, searches),),
        context=LeaderboardContext(
            tuple(axis(board.rows) for board in report.boards),
            trainings,
            {each.key: each for each in two_rankings(report.boards, report.cells)},
            searches,
            rows_on_one_run(report.cells),
            published=marks(report.published),
            figures=tuple(figures_beside(board, report.published) for board in report.boards),
        ),
    )


def figures_beside(board: Board, published: Iterable[PublishedRow]) -> tuple[PublishedRow, ...]:
    """Return the published figures of a dataset and number of shots of a board that stand beside one of its rows."""
    rows = {(row.method, row.backbone) for row in board.rows}
    return tuple(
        each
        for each in published
        if each.ours is not None
        and each.ours.protocol == board.protocol
        and (each.ours.dataset, each.ours.shots) in board.strata
        and (each.ours.method, each.ours.backbone) in rows
    )


def trainings_of_rows(rows: Iterable[SettingRow], trials: pd.DataFrame) -> dict[RowKey, int]:
    """Return the trainings that the trials of a row's settings come to, for rows that were searched.

    Args:
        rows: From :func:`tlbench.report.rows.settings.settings`.
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    trainings = (trials["share"] * trials["folds"]).astype("float64")
    counts = trainings.groupby(trials["setting"]).sum().round().astype(int).to_dict()
    found: dict[RowKey, int] = {}
    for row in rows:
        number = counts.get(setting_name(row.protocol, row.method, row.backbone, row.dataset, row.shots), 0)
        if number:
            key = (row.protocol, row.method, row.backbone)
            found[key] = found.get(key, 0) + number
    return found
