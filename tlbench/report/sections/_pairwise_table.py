"""Rows of a board compared pair by pair, over all cells that both have."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.report import number_format as text
from tlbench.report.rows.leaderboard import Board, Row
from tlbench.report.table import Table, TablePart, Value


def pairs_table(boards: Iterable[Board]) -> Table:
    """Return one row a pair of complete rows with its simultaneous interval, the better mean first.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    parts = []
    for board in boards:
        if board.comparison is None:
            continue
        body = []
        names = board.comparison.names
        for place, ours in enumerate(names):
            for theirs in names[place + 1 :]:
                pair = board.comparison.pairs.get((ours, theirs))
                if pair is None:
                    continue
                found = pair.contrast.estimate
                records.append(
                    {
                        "protocol": board.protocol,
                        "datasets": " ".join(board.datasets),
                        "shots": " ".join(board.shots),
                        "method": ours[0],
                        "backbone": ours[1],
                        "other_method": theirs[0],
                        "other_backbone": theirs[1],
                        "difference": found.mean,
                        "low": found.low,
                        "high": found.high,
                        "p_adjusted": pair.p,
                        "verdict": pair.verdict,
                        "pairs": pair.contrast.pairs,
                    }
                )
                body.append(
                    (row_name(ours), row_name(theirs), text.points(found.mean), text.points_interval(found),
                     text.p_value(pair.p))
                )  # fmt: skip
        head = ("row", "against", "difference", "simultaneous 95% interval", "p (Bonferroni)")
        parts.append(TablePart(board.title, head, body, (0, 1)))
    columns = ("protocol", "datasets", "shots", "method", "backbone", "other_method", "other_backbone")
    return Table("pairwise", records, columns, parts)


def row_name(row: Row) -> str:
    """Return a method on a backbone as one name."""
    return f"{row[0]} · {row[1]}"
