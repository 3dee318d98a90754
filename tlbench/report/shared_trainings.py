"""Trainings whose weights several cells share, as the cells' records tell them: pre-training runs and teachers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple


class SharedTraining(NamedTuple):
    """A training whose weights several cells start or learn from; it is on the bill of none of them.

    Attributes:
        kind: ``pre-training`` or ``teacher``.
        key: Equal keys are one training.
        label: What was trained, in words.
        device_seconds: What it took; None where that was not measured.
        device: ``CPU`` or ``GPU``: what they are seconds of.
        seconds: Wall seconds; None where they are not known.
        cells: Number of cells that share it.
    """

    kind: str
    key: str
    label: str
    device_seconds: float | None
    device: str
    seconds: float | None
    cells: int


def shared_trainings(told: Iterable[str]) -> list[tuple[SharedTraining, ...]]:
    """Return the trainings behind each cell; the same training is the same object, and knows how many cells share it.

    Args:
        told: Of each cell the JSON of a list of :class:`tlbench.core.record.SharedCost`. A text that is none, as one
            that was cut, stands for nothing.
    """
    told = list(told)
    parsed = {text: _parsed(text) for text in dict.fromkeys(told)}
    users = Counter(str(each["key"]) for text in told for each in parsed[text])
    found: dict[str, SharedTraining] = {}
    for each in (each for entries in parsed.values() for each in entries):
        training = SharedTraining(
            kind=str(each["kind"]),
            key=str(each["key"]),
            label=str(each["label"]),
            device_seconds=each.get("device_seconds"),
            device=str(each.get("device", "CPU")),
            seconds=each.get("seconds"),
            cells=users[str(each["key"])],
        )
        known = found.setdefault(training.key, training)
        if known.device_seconds is None:  # made before costs were kept, or on a machine that did not say
            found[training.key] = training
    return [tuple(found[str(each["key"])] for each in parsed[text]) for text in told]


def _parsed(text: str) -> list[dict[str, Any]]:
    try:
        entries = json.loads(text or "[]")
    except ValueError:
        return []
    return [each for each in entries if isinstance(each, dict) and {"kind", "key", "label"} <= each.keys()]
