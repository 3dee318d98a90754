"""The spread of every row over seeds, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Table, TablePart
from tlbench.stats.seed_spread import seed_spread

_NOTE = "Pooled standard deviation over seeds within dataset and shots, in points: what one more seed may change."


class _Spread(NamedTuple):
    """A row of the leaderboard: the standard deviation over its seeds, a fraction of 1, and the number of its cells."""

    protocol: str
    method: str
    backbone: str
    sd: float
    cells: int


def spread_table(boards: Iterable[Board]) -> Table:
    """Return one row a row of any board with the spread of its seeds, the widest of a protocol first.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    found: dict[tuple[str, str, str], _Spread] = {}
    for board in boards:
        for row in board.rows:
            key, sd = (board.protocol, row.method, row.backbone), seed_spread(row.scores)
            if sd is not None and (key not in found or found[key].cells < row.have):
                found[key] = _Spread(*key, sd, row.have)  # of several boards, the one with most of its cells
    spreads = list(found.values())
    spreads.sort(key=lambda each: (each.protocol, -each.sd))
    body = [(each.protocol, each.method, each.backbone, f"{100 * each.sd:.2f}", str(each.cells)) for each in spreads]
    head = ("protocol", "method", "backbone", "SD over seeds", "cells")
    parts = [TablePart("Spread over seeds", head, body, (0, 1, 2), _NOTE)] if body else []
    return Table("spread", [each._asdict() for each in spreads], _Spread._fields, parts)
