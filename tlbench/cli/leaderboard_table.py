"""The leaderboard as a table for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tlbench.report import number_format as text
from tlbench.report.metric_text import MetricText, metric_text
from tlbench.report.notes import TRANSDUCTIVE
from tlbench.report.rows.leaderboard import Board, LeaderRow

_NAME = "method | backbone"
_SCORE = "score"
_NEEDS = {"#": 0, _SCORE: 0, "to baseline": 60, "cells": 68, "a cell": 76}  # columns that a terminal must have


def terminal_table(suite: str, boards: Iterable[Board], width: int = 80) -> Table:
    """Return the leaderboard; boards follow each other, rows without a rank are dimmed.

    Args:
        suite: Name, for the title.
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        width: Columns of the terminal; where they are few, the name of a row and its accuracy stay, others go.
    """
    boards = tuple(boards)
    metrics = {board.metric: metric_text(board.metric) for board in boards}
    told = [each.heading + " in %" * each.in_percent for each in metrics.values()] or [_SCORE]
    title = Text(f"{suite}: test {', '.join(told)}, 95% intervals of seeds and test sets")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown = _shown(width)
    for heading in shown:
        named = [each.label for each in metrics.values()] if heading == _SCORE else []
        table.add_column(named[0] if len(named) == 1 else heading, justify="right", no_wrap=True)
    table.add_column(_NAME, overflow="fold", ratio=1)  # last, where long names wrap without harm
    for board in boards:
        table.add_section()
        title = Text(board.title, style="bold")
        if board.transductive:
            title.append(f"\n{TRANSDUCTIVE}", style="not bold dim")
        table.add_row(*[""] * len(shown), title)
        for row in board.rows:
            cells = _cells(row, metrics[board.metric])
            table.add_row(*(cells[name] for name in (*shown, _NAME)), style="dim" if row.rank is None else None)
    return table


def _shown(width: int) -> list[str]:
    return [heading for heading, needed in _NEEDS.items() if width >= needed]


def _cells(row: LeaderRow, metric: MetricText) -> dict[str, Text]:
    contrast = row.difference.contrast
    difference = Text("baseline" if row.is_baseline else text.NONE)
    if contrast is not None:
        difference = Text(text.points(contrast.estimate.mean))
        difference.append(f"\n{text.points_interval(contrast.estimate)}", style="dim")
    return {
        "#": Text("" if row.rank is None else str(row.rank)),
        _SCORE: Text(metric.score(row.accuracy.mean)).append(f"\n{metric.interval(row.accuracy)}", style="dim"),
        "to baseline": difference,
        "cells": Text(f"{row.have}/{row.expected}"),
        "a cell": Text(text.device_seconds(row.cost.device_seconds, row.cost.device)).append(
            f"\nwall {text.seconds(row.cost.seconds)}", style="dim"
        ),
        _NAME: Text(row.method + " (upper bound)" * row.is_bound).append(f"\n{row.backbone}", style="dim"),
    }
