"""The results of searches: a table for people, rows for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from tlbench.core.hashing import canonical
from tlbench.core.segments import describe_course
from tlbench.planning.search_results import SearchResult

# Columns, and the width that a terminal must have for each.
_NEEDS = {
    "setting": 0, "trials": 72, "trainings": 100, "failed": 90, "time": 80, "default": 46, "best": 0, "chosen": 56
}  # fmt: skip


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


def search_table(results: Iterable[SearchResult], width: int = 80) -> Table:
    """Return one row a search: its budget, validation scores of the default and the best, and the choice.

    Args:
        results: Of the searches.
        width: Columns of the terminal; where they are few, the setting and its best score stay, others go.
    """
    title = (
        "validation score of the default and of the best trial" if width >= _NEEDS["chosen"] else "validation scores"
    )
    table = Table(title=title, box=None, title_justify="left")
    shown = [name for name, needed in _NEEDS.items() if width >= needed]
    for name in shown:
        is_text = name in ("setting", "chosen")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for each in results:
        cells = _cells(each)
        table.add_row(*(cells[name] for name in shown))
    return table


def _cells(result: SearchResult) -> dict[str, str]:
    return {
        "setting": escape(result.label),
        "trials": f"{result.trials:.3g}",
        "trainings": f"{result.trainings:.3g}",
        "failed": str(result.failed or ""),
        "time": f"{result.seconds:.3g} s",
        "default": _score(result.default_score),
        "best": _score(result.best_score),
        "chosen": escape(_chosen(result)),
    }


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
