"""Whether methods stand in the same order on every backbone: Kendall's tau between any two of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Table, TablePart, Value
from tlbench.stats.orderings import kendall_tau

_LEAST = 3  # methods that make an order
_NOTE = (
    "Kendall's tau between the orders of the methods that both backbones have complete: 1 the same order, 0 no "
    "relation, −1 the reverse. Of few methods it says little."
)


def orderings_table(boards: Iterable[Board]) -> Table:
    """Return one row a pair of backbones with at least three complete methods in common.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    for board in boards:
        means: dict[str, dict[str, float]] = {}
        for row in board.ranked:
            means.setdefault(row.backbone, {})[row.method] = row.accuracy.mean
        for first, second in combinations(sorted(means), 2):
            shared = len(means[first].keys() & means[second].keys())
            tau = kendall_tau(means[first], means[second]) if shared >= _LEAST else None
            if tau is not None:
                records.append(
                    {"protocol": board.protocol, "first": first, "second": second, "methods": shared, "tau": tau}
                )
    head = ("protocol", "backbone", "backbone", "methods", "tau")
    body = [
        (str(each["protocol"]), str(each["first"]), str(each["second"]), str(each["methods"]), f"{each['tau']:.2f}")
        for each in records
    ]
    parts = [TablePart("Do the methods keep their order?", head, body, (0, 1, 2), _NOTE)] if body else []
    return Table("orderings", records, ("protocol", "first", "second", "methods", "tau"), parts)
