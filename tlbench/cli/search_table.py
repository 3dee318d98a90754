"""The results of searches: a table for people, rows for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from tlbench.core.hashing import canonical
from tlbench.core.segments import describe_course
from tlbench.planning.search_results import SearchResult


def search_json(results: Iterable[SearchResult]) -> list[dict[str, Any]]:
    """Return one mapping a search, which is of one setting and seed."""
    return [
        {
            "setting": each.label,
            "trials": each.trials,
            "failed": each.failed,
            "seconds": each.seconds,
            "start": each.default_score,
            "best": each.best_score,
            "number": each.chosen_trial,
            "keeps_default": each.keeps_default,
            "trainings": each.trainings,
            "values": each.values,
            "segments": each.segments,
            "note": each.note,
        }
        for each in results
    ]


def search_table(results: Iterable[SearchResult]) -> Table:
    """Return one row a search: its budget, validation scores of the default and the best, and the choice."""
    table = Table(title="validation score of the default and of the best trial", box=None, title_justify="left")
    for name in ("setting", "trials", "trainings", "failed", "time", "default", "best", "chosen"):
        table.add_column(name, justify="left" if name in ("setting", "chosen") else "right", overflow="fold")
    for each in results:
        table.add_row(
            escape(each.label),
            f"{each.trials:.3g}",
            f"{each.trainings:.3g}",
            str(each.failed or ""),
            f"{each.seconds:.3g} s",
            _score(each.default_score),
            _score(each.best_score),
            escape(_chosen(each)),
        )
    return table


def _chosen(result: SearchResult) -> str:
    values = describe_course(result.values, result.segments, _short)
    chosen = result.note or ", ".join(f"{key}={_short(value)}" for key, value in values.items())
    if result.keeps_default:
        return f"{chosen} (the default, beaten by less than a standard error)"
    return f"{chosen} (the default)" if result.chosen_trial == 1 else chosen


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else canonical(value).strip('"')
