"""The tables of costs: what the cells of a row are billed, and the trainings that cells share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.leading_rows import RowKey
from tlbench.report.rows.leaderboard import Board
from tlbench.report.search_cost import NO_SEARCH, SearchCost
from tlbench.report.shared_trainings import SharedTraining
from tlbench.report.table import Table, TablePart, Value
from tlbench.report.table_columns import cost_columns, shared_text

_BILL = (
    "A cell is billed the CPU-seconds of its processes, or GPU-seconds (GPUs held, times wall seconds) where it holds "
    "a GPU. The embedding of what it read of frozen features is a part of the bill at its measured price, whoever "
    "computed them, and so is the test. Wall seconds are as measured: they depend on what else the machine did, and on "
    "which features were there already. What cells share, and the search, is on no cell's bill. Figures of a cell are "
    "medians."
)
_SHARED = "Trained once, and on no cell's bill."


def costs_table(boards: Iterable[Board], searches: Mapping[RowKey, SearchCost]) -> Table:
    """Return one row a row of any board, and one part a board.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        searches: What the trials behind a row took.
    """
    boards = tuple(boards)
    records: list[Mapping[str, Value]] = []
    parts: list[TablePart] = []
    head = ("method", "backbone", "a cell", "of it embedding", "wall", "shared", "search", "cells")
    for board in boards:
        body = []
        for row in board.rows:
            cost, search = row.cost, searches.get((board.protocol, row.method, row.backbone), NO_SEARCH)
            records.append(
                {
                    "protocol": board.protocol,
                    "datasets": " ".join(board.datasets),
                    "method": row.method,
                    "backbone": row.backbone,
                    "cells": row.have,
                    **cost_columns(cost),
                    "search_seconds": search.seconds,
                    "search_device": search.device,
                }
            )
            body.append(
                (
                    row.method,
                    row.backbone,
                    text.device_seconds(cost.device_seconds, cost.device),
                    text.device_seconds(cost.embedding_seconds, cost.device),
                    text.seconds(cost.seconds),
                    shared_text(cost),
                    text.device_seconds(*search),
                    str(row.have),
                )
            )
        parts.append(TablePart(board.title, head, body, (0, 1, 5), _BILL))
    return Table("costs", records, ("protocol", "method", "backbone", "cells", "device_seconds", "seconds"), parts)


def shared_table(cells: Iterable[ComparableCell]) -> Table:
    """Return one row a network that cells share; teachers of the same recipe, trained on other labels, are one row.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
    """
    cells = tuple(cells)
    groups: dict[tuple[str, str, str], list[SharedTraining]] = {}
    for each in dict.fromkeys(each for cell in cells for each in cell.shared):
        groups.setdefault((each.kind, each.label, each.device), []).append(each)
    rows = [(*names, group, _users(cells, group)) for names, group in groups.items()]
    head = ("what", "trainings", "together", "wall", "cells that share it")
    return Table(
        name="shared",
        records=[
            {
                "kind": kind,
                "what": label,
                "trainings": len(group),
                "device_seconds": _sum(each.device_seconds for each in group),
                "device": device,
                "seconds": _sum(each.seconds for each in group),
                "cells": users,
            }
            for kind, label, device, group, users in rows
        ],
        columns=("kind", "what", "trainings", "device_seconds", "device", "seconds", "cells"),
        parts=[
            TablePart(
                "Trainings that cells share",
                head,
                [
                    (
                        label,
                        str(len(group)),
                        text.device_seconds(_sum(each.device_seconds for each in group), device),
                        text.seconds(_sum(each.seconds for each in group)),
                        str(users),
                    )
                    for _, label, device, group, users in rows
                ],
                (0,),
                _SHARED,
            )
        ]
        if rows
        else [],
    )


def _users(cells: Iterable[ComparableCell], trainings: Iterable[SharedTraining]) -> int:
    wanted = set(trainings)
    return sum(not wanted.isdisjoint(cell.shared) for cell in cells)


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum, or None where a part of it is not known."""
    values = tuple(values)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
