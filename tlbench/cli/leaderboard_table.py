"""The leaderboard as a table for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tlbench.report import number_format as text
from tlbench.report.notes import TRANSDUCTIVE
from tlbench.report.rows.leaderboard import Board, LeaderRow


def terminal_table(suite: str, boards: Iterable[Board]) -> Table:
    """Return the leaderboard; boards follow each other, rows without a rank are dimmed.

    Args:
        suite: Name, for the title.
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    title = Text(f"{suite}: test accuracy in %, 95% intervals of seeds and test sets")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    for heading in ("accuracy", "to baseline", "cells", "a cell"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("method | backbone", overflow="fold", ratio=1)  # last, where long names wrap without harm
    for board in boards:
        table.add_section()
        title = Text(board.title, style="bold")
        if board.transductive:
            title.append(f"\n{TRANSDUCTIVE}", style="not bold dim")
        table.add_row(*[""] * 5, title)
        for row in board.rows:
            table.add_row(*_cells(row), style="dim" if row.rank is None else None)
    return table


def _cells(row: LeaderRow) -> list[Text]:
    contrast = row.difference.contrast
    difference = Text("baseline" if row.is_baseline else text.NONE)
    if contrast is not None:
        difference = Text(text.points(contrast.estimate.mean))
        difference.append(f"\n{text.points_interval(contrast.estimate)}", style="dim")
    return [
        Text("" if row.rank is None else str(row.rank)),
        Text(text.percent(row.accuracy.mean)).append(f"\n{text.percent_interval(row.accuracy)}", style="dim"),
        difference,
        Text(f"{row.have}/{row.expected}"),
        Text(text.device_seconds(row.cost.device_seconds, row.cost.device)).append(
            f"\nwall {text.seconds(row.cost.seconds)}", style="dim"
        ),
        Text(row.method + " (upper bound)" * row.is_bound).append(f"\n{row.backbone}", style="dim"),
    ]
