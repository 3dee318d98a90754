"""The search's table: what was chosen in each setting, against the default, and what it is worth on the test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.report import number_format as text
from tlbench.report.sections import _search_scores as scores
from tlbench.report.sections._search_rows import Searched
from tlbench.report.table import Part, Sheet

NOTE = (
    "What was chosen on validation, where it differs from the default configuration, which was the first trial. A "
    "validation score is the best of many, so that it promises too much; the test was read once."
)
DEFAULT, NOTHING, UNUSED = "the default won", "no trial was trained to its end", "not used"


def search_sheet(found: Iterable[Searched]) -> Sheet:
    """Return one row a searched setting; ``params`` and ``default`` hold the exact values as JSON.

    Args:
        found: From :func:`tlbench.report.sections._search_rows.searched`.
    """
    found = tuple(found)
    return Sheet(
        name="search",
        records=[
            {
                "protocol": each.protocol,
                "dataset": each.dataset,
                "shots": each.shots,
                "backbone": each.backbone,
                "method": each.method,
                "trials": each.trials,
                "stopped": each.stopped,
                "failed": each.failed,
                "cost_seconds": each.cost,
                "default": canonical(each.default),
                "params": "" if each.chosen is None else canonical(each.chosen),
                "segments": canonical(each.segments) if each.segments else "",
                "validation_by": each.by,
                "validation_of_default": each.start,
                "validation": each.validation,
                "test": each.test,
            }
            for each in found
        ],
        columns=("protocol", "dataset", "shots", "backbone", "method", "trials", "params", "validation_by",
                 "validation", "test"),
        parts=[
            _part(by, [each for each in found if each.by == by]) for by in dict.fromkeys(each.by for each in found)
        ],
    )  # fmt: skip


def _part(by: str, found: Iterable[Searched]) -> Part:
    """Return the table of the settings in which one validation score decided."""
    named = scores.called(by)
    head = ("protocol", "dataset", "shots", "backbone", "method", "chosen", f"default's validation ({named})",
            f"validation ({named})", "test %", "trials", "stopped", "failed", "device time")  # fmt: skip
    body = [
        (
            each.protocol,
            each.dataset,
            each.shots,
            each.backbone,
            each.method,
            chosen(each),
            scores.told(by, each.start),
            scores.told(by, each.validation),
            text.percent(each.test),
            str(each.trials),
            str(each.stopped),
            str(each.failed),
            text.seconds(each.cost),
        )
        for each in found
    ]
    return Part(f"Chosen settings, by {by.replace('_', ' ')}", head, body, (0, 1, 3, 4, 5), NOTE)


def places(found: Iterable[Searched]) -> dict[tuple[str, str, str, str, str], list[Searched]]:
    """Return the settings in which methods met: by protocol, dataset, shots, backbone and what decided."""
    groups: dict[tuple[str, str, str, str, str], list[Searched]] = {}
    for each in found:
        groups.setdefault((each.protocol, each.dataset, each.shots, each.backbone, each.by), []).append(each)
    return groups


def chosen(of: Searched) -> str:
    """Return what a search changed: ``lr 0.001 → 0.00241, rank 8 → 2``."""
    if of.chosen is None:
        return NOTHING
    return ", ".join(f"{each.name} {held(each.before)} → {held(each.after)}" for each in of.changed) or DEFAULT


def held(values: Sequence[Any]) -> str:
    """Return the values that a parameter held one after another; or that it was not used."""
    return ", then ".join(map(text.value, values)) or UNUSED
