"""How a protocol was run here: its options, its data, and by what rule a model was selected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import Measured, by_shots

_SELECTION = {
    "classification": "on validation taken out of the label budget; the test split is read once, by the protocol",
    "episodic": "on episodes of validation classes; test episodes are the same for every method",
    "adaptation": "by {validator}, without a label of the target; the oracle is shown and never ranked",
}


@dataclass(frozen=True)
class ProtocolBox:
    """One protocol as it was run.

    Attributes:
        name: Label, as on the leaderboard.
        facts: What to tell of it, by what it is called.
    """

    name: str
    facts: dict[str, str]


def protocol_boxes(done: pd.DataFrame, cells: Iterable[Measured]) -> tuple[ProtocolBox, ...]:
    """Return one box a protocol.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
        cells: See :func:`tlbench.report.comparable_cells.settle`.
    """
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.protocol, []).append(cell)
    stored = done.set_index("cell")
    return tuple(_box(name, group, stored) for name, group in sorted(groups.items()))


def _box(name: str, group: list[Measured], stored: pd.DataFrame) -> ProtocolBox:
    first = stored.loc[group[0].cell]
    options = {key: value for key, value in json.loads(str(first["options"])).items() if key != "validator"}
    rule = _SELECTION.get(group[0].protocol_name, "as the protocol says")
    seeds = sorted({cell.seed for cell in group})
    facts = {
        "protocol": f"{group[0].protocol_name}, version {first['protocol_version']}",
        "options": ", ".join(f"{key} {value}" for key, value in options.items()) or text.NONE,
        "selected": rule.format(validator=group[0].validator.replace("_", " ") or "its validator"),
        "datasets": _datasets({cell.dataset for cell in group}),
        "shots": ", ".join(sorted({cell.shots for cell in group}, key=by_shots)),
        "seeds": f"{len(seeds)} ({', '.join(map(str, seeds[:10]))}{', ...' if len(seeds) > 10 else ''})",
        "cells": str(len(group)),
        "time": text.seconds(sum(cell.seconds or 0.0 for cell in group)),
    }
    return ProtocolBox(name, facts)


def _datasets(names: Iterable[str]) -> str:
    """Return all names, what stands before a colon once: ``glyphs: Sans -> Serif, Mono -> Serif; digits``."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        head, colon, own = name.rpartition(": ")
        groups.setdefault(head + colon, []).append(own)
    return "; ".join(head + ", ".join(own) for head, own in groups.items())
