"""Leaderboard: methods on backbones by their mean accuracy over datasets and shots, with intervals and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from tlbench.report.leading_rows import RowKey
from tlbench.report.pretraining_runs import rows_on_one_run
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import MOST_COMPARED, Board
from tlbench.report.rows.settings import SettingRow
from tlbench.report.search_cost import SearchCost, search_costs
from tlbench.report.section import Content
from tlbench.report.sections._adaptation_rankings import TwoRankings, two_rankings
from tlbench.report.sections._leaderboard_table import leaderboard_table
from tlbench.report.trials import setting_name

TITLE = "Leaderboard"
ORDER = 20
TABLES = ("leaderboard",)
FIGURES = ()


@dataclass(frozen=True)
class Axis:
    """The axis on which a board's intervals are drawn; its ends are accuracies, multiples of 5 points."""

    low: float
    high: float

    def position(self, value: float) -> float:
        """Return where a value lies on the axis, in percent of its length."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)


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
    """

    axes: tuple[Axis, ...]
    trainings: Mapping[RowKey, int]
    rankings: Mapping[tuple[str, tuple[str, ...]], TwoRankings]
    searches: Mapping[RowKey, SearchCost]
    on_one_run: frozenset[RowKey] = frozenset()
    most_compared: int = MOST_COMPARED


def build(report: Report) -> Content:
    """Return the table of all boards; the template draws them with their axes."""
    trainings = trainings_of_rows(report.settings, report.results.trials)
    searches = search_costs(report.settings, report.results.trials)
    return Content(
        tables=(leaderboard_table(report.boards, trainings, searches),),
        context=LeaderboardContext(
            tuple(map(axis, report.boards)),
            trainings,
            {each.key: each for each in two_rankings(report.boards, report.cells)},
            searches,
            rows_on_one_run(report.cells),
        ),
    )


def axis(board: Board) -> Axis:
    """Return the axis of a board, which all its intervals fit on."""
    lows = [row.accuracy.mean if row.accuracy.low is None else row.accuracy.low for row in board.rows]
    highs = [row.accuracy.mean if row.accuracy.high is None else row.accuracy.high for row in board.rows]
    low, high = int(20 * min(lows)) / 20, -int(-20 * max(highs) // 1) / 20
    return Axis(low, max(high, low + 0.05))


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
