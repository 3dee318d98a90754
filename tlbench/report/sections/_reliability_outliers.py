"""Seeds that stand far from the others of their setting, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import by_shots
from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Table, TablePart
from tlbench.stats.seed_spread import outliers

_NOTE = (
    "Seeds far from the median of their setting, in robust standard deviations of all rows at that dataset and shots. "
    "They count like all others: look at them before believing a mean."
)


class _Outlier(NamedTuple):
    """A cell far from its setting's others: its accuracy and their median, fractions of 1, and how far it lies."""

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    seed: int
    accuracy: float
    median: float
    distance: float


def outliers_table(boards: Iterable[Board]) -> Table:
    """Return one row a seed that stands far from its setting's others, the farthest first.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    cells = {each[:6]: each for board in boards for each in _of_board(board)}  # boards may share cells
    found = sorted(cells.values(), key=lambda each: -each.distance)
    body = [
        (each.method, each.backbone, each.dataset, each.shots, str(each.seed), text.percent(each.accuracy),
         text.percent(each.median), f"{each.distance:.1f}")
        for each in found
    ]  # fmt: skip
    parts = [TablePart("Seeds that stand out", _Outlier._fields[1:], body, (0, 1, 2), _NOTE)] if body else []
    return Table("outliers", [each._asdict() for each in found], _Outlier._fields, parts)


def _of_board(board: Board) -> Iterator[_Outlier]:
    for dataset in board.datasets:
        for shots in sorted(board.shots, key=by_shots):
            settings = {
                (row.method, row.backbone): row.scores[dataset, shots]
                for row in board.rows
                if (dataset, shots) in row.scores
            }
            for each in outliers(settings):
                method, backbone = each.key
                yield _Outlier(
                    board.protocol, method, backbone, dataset, shots, each.seed, each.value, each.median, each.distance
                )
