"""The ranks of a board when each of its datasets is left out in turn, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.report import number_format as text
from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Table, TablePart, Value
from tlbench.stats.orderings import leave_one_dataset_out

_NOTE = "Rank by mean accuracy with all datasets, and without each in turn."


def left_out_table(boards: Iterable[Board]) -> Table:
    """Return one row a complete row: its rank, and its rank without each dataset; boards of two datasets or more.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    parts = []
    for board in boards:
        without = leave_one_dataset_out({(row.method, row.backbone): row.scores for row in board.ranked})
        if not without:
            continue
        body = []
        for row in board.ranked:
            name = (row.method, row.backbone)
            for dataset, ranks in without.items():
                records.append(
                    {"protocol": board.protocol, "method": row.method, "backbone": row.backbone, "rank": row.rank,
                     "left_out": dataset, "rank_without": ranks.get(name)}
                )  # fmt: skip
            body.append((row.method, row.backbone, str(row.rank), *(str(ranks[name]) for ranks in without.values())))
        names = text.short(without)
        head = ("method", "backbone", "rank", *(f"without {names[dataset]}" for dataset in without))
        parts.append(TablePart(f"{board.title}: ranks without a dataset", head, body, (0, 1), _NOTE))
    return Table("left_out", records, ("protocol", "method", "backbone", "rank", "left_out", "rank_without"), parts)
