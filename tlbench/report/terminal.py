"""The leaderboard as a table for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tlbench.report import text
from tlbench.report.tables import Board, LeaderRow

_NARROW = ("p (Holm)", "cells", "time")


def terminal_table(suite: str, boards: Iterable[Board]) -> Table:
    """Return the leaderboard; boards follow each other, rows without a rank are dimmed.

    Args:
        suite: Name, for the title.
        boards: From :func:`tlbench.report.tables.leaderboard`.
    """
    table = Table(
        title=Text(f"{suite}: test accuracy in %, 95% intervals over seeds"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("method\nbackbone", overflow="fold", ratio=1)
    for heading in ("accuracy", "to baseline"):
        table.add_column(f"{heading}\ninterval", justify="right", no_wrap=True)
    for heading in _NARROW:
        table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for board in boards:
        table.add_section()
        table.add_row("", Text(f"{board.protocol}: {', '.join(board.datasets)}", style="bold"))
        for row in board.rows:
            table.add_row(*_cells(row), style="dim" if row.rank is None else None)
    return table


def _cells(row: LeaderRow) -> list[Text]:
    contrast = row.difference.contrast
    difference, p = "baseline" if row.is_baseline else text.NONE, ""
    if contrast is not None:
        difference = f"{text.points(contrast.estimate.mean)}\n{text.points_interval(contrast.estimate)}"
        p = text.p_value(row.difference.p_holm)
    return [
        Text("" if row.rank is None else str(row.rank)),
        Text(row.method).append(f"\n{row.backbone}", style="dim"),
        Text(f"{text.percent(row.accuracy.mean)}\n{text.percent_interval(row.accuracy)}"),
        Text(difference),
        Text(p),
        Text(f"{row.have}/{row.expected}"),
        Text(text.seconds(row.cost.seconds)),
    ]
