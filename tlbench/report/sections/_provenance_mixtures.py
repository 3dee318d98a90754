"""Where the cells of a row were not all computed with the same, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Table, TablePart

_NOTE = (
    "The cells of these rows were not all computed with the same device type, precision, number of workers or versions "
    "of libraries. Results may differ for that reason alone. Cells of earlier versions may not say what they ran with; "
    "they count as unknown, not as different."
)


def mixtures_table(boards: Iterable[Board]) -> Table:
    """Return one record a row, mixed fact and value of it; people are shown one line a row and fact.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    found = [(board, row, mixture) for board in boards for row in board.rows for mixture in row.mixtures]
    head = ("protocol", "method", "backbone", "mixed", "values")
    body = [(board.protocol, row.method, row.backbone, mixture.name, mixture.values) for board, row, mixture in found]
    columns = ("protocol", "method", "backbone", "fact", "value", "cells")
    return Table(
        name="mixed_environments",
        records=[
            dict(zip(columns, (board.protocol, row.method, row.backbone, mixture.fact, value, cells), strict=True))
            for board, row, mixture in found
            for value, cells in (*mixture.counts, *([("", mixture.unknown)] if mixture.unknown else []))
        ],
        columns=columns,
        parts=[TablePart("Rows that mix environments", head, body, (0, 1, 2, 3, 4), _NOTE)] if body else [],
    )
