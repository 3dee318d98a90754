"""How the planned cells of a suite are stored: each name once, settings column by column, packed into tags.

An experiment's tags are read with it, whichever way it is read. One holds 20,000 characters, so a plan is cut into as
many as it needs; 100,000 cells need a few. Tags are not written all at one moment: the head has the hash of the whole,
and where parts do not add up to it, there is no plan.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.core.planned_setting import PlannedSetting

PLANNED_TAG = "tlbench.planned"
_FORMAT = 1
_MOST_BYTES = 1 << 28  # of an unpacked plan: that of ten million cells
_FIELDS = tuple(field.name for field in fields(PlannedSetting))
_NUMBERS = ("seeds", "kept")
_LATER: dict[str, Any] = {"tuned_from": "", "kept": (), "method_name": "", "backbone_name": ""}  # older plans lack them


def plan_tags(settings: Sequence[PlannedSetting], length: int) -> dict[str, str]:
    """Return the tags that hold planned settings.

    Args:
        settings: In their stored form.
        length: Characters that a tag holds.
    """
    packed = base64.b64encode(zlib.compress(canonical(settings_to_json(settings)).encode(), 9)).decode()
    parts = [packed[start : start + length] for start in range(0, len(packed), length)]
    head = {"format": _FORMAT, "parts": len(parts), "sha256": _hash(packed)}
    return {PLANNED_TAG: canonical(head)} | {_part(number): part for number, part in enumerate(parts)}


def read_plan_tags(tags: Mapping[str, str]) -> tuple[PlannedSetting, ...] | None:
    """Return the planned settings that an experiment's tags hold; None where they hold none, or not all of a plan."""
    try:
        head = json.loads(tags[PLANNED_TAG])
        packed = "".join(tags[_part(number)] for number in range(head["parts"]))
        if head["format"] != _FORMAT or head["sha256"] != _hash(packed):
            return None
        return settings_from_json(json.loads(_unpacked(base64.b64decode(packed, validate=True))))
    except (ValueError, KeyError, IndexError, TypeError, zlib.error):
        return None


def settings_to_json(settings: Iterable[PlannedSetting]) -> dict[str, Any]:
    """Return settings as JSON-like values: by field, the values that occur, and which of them each setting has."""
    rows = list(settings)
    found: dict[str, Any] = {}
    for name in _FIELDS:
        column = [getattr(row, name) for row in rows]
        numbers = {value: number for number, value in enumerate(dict.fromkeys(column))}
        found[name] = {"values": list(numbers), "which": [numbers[value] for value in column]}
    return found


def settings_from_json(stored: Mapping[str, Any]) -> tuple[PlannedSetting, ...]:
    """Undo :func:`settings_to_json`.

    Raises:
        ValueError, KeyError, IndexError, TypeError: It is something else.
    """
    columns = []
    for name in _FIELDS:
        if name in _LATER and name not in stored:
            columns.append([_LATER[name]] * len(stored["seeds"]["which"]))
            continue
        values = [tuple(map(int, each)) if name in _NUMBERS else str(each) for each in stored[name]["values"]]
        columns.append([values[number] for number in stored[name]["which"]])
    return tuple(PlannedSetting(*row) for row in zip(*columns, strict=True))


def _part(number: int) -> str:
    return f"{PLANNED_TAG}.{number}"


def _hash(packed: str) -> str:
    return hashlib.sha256(packed.encode()).hexdigest()[:32]


def _unpacked(packed: bytes) -> bytes:
    """Return decompressed bytes.

    Raises:
        ValueError: They are more than any plan has, or cut short.
    """
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(packed, _MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("no plan is as long, or it is cut short")
    return found
