"""The search's table: what was chosen in each setting, against the default, and its accuracy on the test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.report import number_format as text
from tlbench.report.sections import _search_scores as scores
from tlbench.report.sections._search_rows import SearchRow
from tlbench.report.table import Table, TablePart

NOTE = (
    "What was chosen on validation, by a search for each seed within the labels of that seed, where it differs from "
    "the default configuration, which was the first trial. The default is kept unless the best trial beats it by one "
    "standard error of their difference on the same validation examples (Breiman et al. 1984). A validation score is "
    "the best of many, so that it promises too much; the test was read once."
)
DEFAULT, NOTHING, UNUSED = "the default was kept", "no trial was trained to its end", "not used"


def search_table(rows: Iterable[SearchRow]) -> Table:
    """Return one row a searched setting and seed; ``params`` and ``default`` hold the exact values as JSON.

    Args:
        rows: From :func:`tlbench.report.sections._search_rows.search_rows`.
    """
    rows = tuple(rows)
    return Table(
        name="search",
        records=[
            {
                "protocol": each.protocol,
                "dataset": each.dataset,
                "shots": each.shots,
                "backbone": each.backbone,
                "method": each.method,
                "seed": each.seed,
                "trials": each.trials,
                "folds": each.folds,
                "stopped": each.stopped,
                "failed": each.failed,
                "cost_seconds": each.cost,
                "default": canonical(each.default),
                "params": "" if each.winner is None else canonical(each.winner),
                "segments": canonical(each.segments) if each.segments else "",
                "validation_by": each.criterion,
                "validation_of_default": each.default_score,
                "validation": each.winner_score,
                "validation_of_best": each.best_score,
                "test": each.test,
            }
            for each in rows
        ],
        columns=("protocol", "dataset", "shots", "backbone", "method", "seed", "trials", "params", "validation_by",
                 "validation", "test"),
        parts=[
            _part(criterion, [each for each in rows if each.criterion == criterion])
            for criterion in dict.fromkeys(each.criterion for each in rows)
        ],
    )  # fmt: skip


def _part(criterion: str, rows: Iterable[SearchRow]) -> TablePart:
    """Return the table of the settings in which one validation score decided."""
    name = scores.name_and_unit(criterion)
    head = ("protocol", "dataset", "shots", "backbone", "method", "seed", "chosen", f"default's validation ({name})",
            f"validation ({name})", "test %", "trials", "stopped", "failed", "device time")  # fmt: skip
    body = [
        (
            each.protocol,
            each.dataset,
            each.shots,
            each.backbone,
            each.method,
            str(each.seed),
            changes_text(each),
            scores.score_text(criterion, each.default_score),
            scores.score_text(criterion, each.winner_score),
            text.percent(each.test),
            str(each.trials),
            str(each.stopped),
            str(each.failed),
            text.seconds(each.cost),
        )
        for each in rows
    ]
    return TablePart(f"Chosen settings, by {criterion.replace('_', ' ')}", head, body, (0, 1, 3, 4, 6), NOTE)


def changes_text(row: SearchRow) -> str:
    """Return what a search changed: ``lr 0.001 → 0.00241, rank 8 → 2``."""
    if row.winner is None:
        return NOTHING
    changes = [f"{each.name} {values_text(each.before)} → {values_text(each.after)}" for each in row.changes]
    return ", ".join(changes) or DEFAULT


def values_text(values: Sequence[Any]) -> str:
    """Return the values of a parameter in the order in which they held; or that it was not used."""
    return ", then ".join(map(text.value, values)) or UNUSED
