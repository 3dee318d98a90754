"""Says what searches found: a table for people, rows for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from tlbench.core.hashing import canonical
from tlbench.core.segments import describe_course
from tlbench.planning.search_results import SearchResult


def as_rows(found: Iterable[SearchResult]) -> list[dict[str, Any]]:
    """Return one mapping a setting."""
    return [vars(each) for each in found]


def as_table(found: Iterable[SearchResult]) -> Table:
    """Return one row a setting: its budget, what validation said of the default and of the winner, and its values."""
    table = Table(title="validation score of the default and of the winner", box=None, title_justify="left")
    for name in ("setting", "trials", "failed", "time", "default", "best", "chosen"):
        table.add_column(name, justify="left" if name in ("setting", "chosen") else "right", overflow="fold")
    for each in found:
        values = describe_course(each.values, each.segments, _short)
        chosen = each.note or ", ".join(f"{key}={_short(value)}" for key, value in values.items())
        which = f"{chosen} (the default)" if each.number == 1 else chosen
        table.add_row(
            escape(each.setting),
            f"{each.trials:.3g}",
            str(each.failed or ""),
            f"{each.seconds:.3g} s",
            _score(each.start),
            _score(each.best),
            escape(which),
        )
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else canonical(value).strip('"')
