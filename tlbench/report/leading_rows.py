"""Which rows of the leaderboard the figures show: as many as a reader can tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tlbench.report.rows.leaderboard import Board
from tlbench.report.rows.settings import SettingRow

RowKey = tuple[str, str, str]
"""Protocol, method and backbone of a row of the leaderboard, by their labels."""
_METHODS, _BACKBONES = 8, 6  # that a figure can tell apart


@dataclass(frozen=True)
class LeadingRows:
    """The rows that figures show, of all boards.

    Attributes:
        keys: Protocol, method and backbone of each.
        boards: The boards with these rows only.
        settings: Their settings.
        left_out: Number of rows of the leaderboard that no figure shows, upper bounds not counted; the tables have all.
    """

    keys: frozenset[RowKey]
    boards: tuple[Board, ...]
    settings: tuple[SettingRow, ...]
    left_out: int


def leading_rows(boards: Sequence[Board], settings: Iterable[SettingRow]) -> LeadingRows:
    """Choose from each board the best methods and the baseline on the best backbones.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        settings: From :func:`tlbench.report.rows.settings.settings`.
    """
    keys = frozenset((board.protocol, *row) for board in boards for row in leading(board))
    competing = {
        (board.protocol, row.method, row.backbone) for board in boards for row in board.rows if not row.is_bound
    }
    return LeadingRows(
        keys=keys,
        boards=tuple(_of_rows(board, keys) for board in boards),
        settings=tuple(row for row in settings if (row.protocol, row.method, row.backbone) in keys),
        left_out=len(competing - keys),
    )


def leading(board: Board) -> set[tuple[str, str]]:
    """Return method and backbone of the rows of one board that figures show."""
    rows = [row for row in board.rows if not row.is_bound]
    methods = list(dict.fromkeys(row.method for row in rows))
    backbones = list(dict.fromkeys(row.backbone for row in rows))[:_BACKBONES]
    kept = [method for method in methods[:_METHODS] if method != board.baseline.label]
    if board.baseline.label in methods:
        kept = [*kept[: _METHODS - 1], board.baseline.label]
    return {(row.method, row.backbone) for row in rows if row.method in kept and row.backbone in backbones}


def _of_rows(board: Board, keys: frozenset[RowKey]) -> Board:
    kept = tuple(row for row in board.rows if (board.protocol, row.method, row.backbone) in keys)
    return replace(board, rows=kept)
