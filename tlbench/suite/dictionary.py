"""A suite that a program gives as a dictionary: what is wrong is named by the keys that lead to it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any

from tlbench.core.errors import UserError
from tlbench.core.validation import Location
from tlbench.suite.yaml_source import MAX_DEPTH, MAX_VALUES, Source, is_plain_text

_LARGEST = 2**63


class DictionarySource(Source):
    """A suite without a file: places are named as Python would reach them, ``suite.grids[0].methods[1]``."""

    def at(self, location: Location) -> str:
        """Return the keys that lead to a location, or to the nearest thing around it."""
        return keys_to(self.name, self.known(location))


def dictionary_source(suite: Mapping[str, Any], name: str = "suite") -> Source:
    """Return a dictionary as if it were a suite file that had been read; its text is JSON, which is YAML.

    Args:
        suite: What a suite file may say: mappings with texts as keys, lists, tuples and ranges, texts, paths, numbers
            (those of numpy, too), truth values and None.
        name: What messages call it.

    Raises:
        UserError: It holds something else, or is nested too deeply or far too large.
    """
    lines: dict[Location, int] = {}
    value = _plain(suite, (), name, lines)
    return DictionarySource(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n", value, lines)


def keys_to(name: str, location: Location) -> str:
    """Return ``suite.grids[0].shots`` for the location ("grids", 0, "shots") in ``suite``."""
    return name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


def _plain(value: Any, here: Location, name: str, lines: dict[Location, int]) -> Any:
    """Return a value as YAML would have it, and note the place of each of its parts."""
    lines[here] = len(lines) + 1
    if len(here) > MAX_DEPTH:
        raise UserError(f"{keys_to(name, here[:3])}: nested too deeply")
    if len(lines) > MAX_VALUES:
        raise UserError(f"{name}: more than {MAX_VALUES:,} values")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not is_plain_text(key):
                raise UserError(f"{keys_to(name, here)}: a key must be a text, not {key!r}")
        return {key: _plain(item, (*here, key), name, lines) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(item, (*here, place), name, lines) for place, item in enumerate(value)]
    return _scalar(fspath(value) if isinstance(value, PathLike) else value, keys_to(name, here))


def _scalar(value: Any, place: str) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not is_plain_text(value):
            raise UserError(f"{place}: half a character, or a character 0, in a text")
        return value
    if isinstance(value, Real):
        number = int(value) if isinstance(value, Integral) else float(value)
        if not math.isfinite(number):
            raise UserError(f"{place}: {number} is not a finite number")
        if isinstance(number, int) and abs(number) >= _LARGEST:
            raise UserError(f"{place}: a number too large to be meant")
        return number
    what = f"must be a text, a number, true or false, a list or a mapping, not {type(value).__name__}"
    raise UserError(f"{place}: {what}", "a suite holds what a YAML file can hold")
