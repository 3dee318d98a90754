"""The one selector language: ``"method=lora* shots<=5 dataset=digits seed!=3"`` picks cells."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from tlbench.core.cell import Cell
from tlbench.core.description import CellDescription
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import Shots
from tlbench.core.paths import shortened

TEXTS = ("method", "label", "backbone", "dataset", "protocol", "weights", "id")
NUMBERS = ("shots", "seed")
FIELDS = (*TEXTS, *NUMBERS)

_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s,"'<>=!][^\s,"']*)"""
_CONDITION = re.compile(rf"(?P<field>[^\s=!<>,\"']+)(?P<op>!=|<=|>=|=|<|>)(?P<values>{_VALUE}(?:,{_VALUE})*)(?!\S)")
_WORD = re.compile(r"[^\s=!<>,\"']+(?!\S)")
_PART = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")


class CellFacts(NamedTuple):
    """What a selector may ask of a cell."""

    id: str
    protocol: str
    method: str
    method_label: str
    backbone: str
    backbone_label: str
    weights: str
    dataset: str
    shots: Shots
    seed: int

    @classmethod
    def of(cls, cell: Cell) -> CellFacts:
        """Return the facts of a cell."""
        backbone = cell.backbone.info
        return cls(
            cell.id,
            cell.protocol.name,
            cell.method.name,
            cell.method.label,
            backbone.name,
            backbone.label,
            backbone.weights,
            cell.dataset.info.name,
            cell.shots,
            cell.seed,
        )


@dataclass(frozen=True)
class _Condition:
    """``field op value[,value...]``; several values mean any of them (none of them, after ``!=``)."""

    field: str
    op: str
    values: tuple[str, ...]

    def holds(self, facts: CellFacts | CellDescription) -> bool:
        if self.field in NUMBERS:
            number = _number(getattr(facts, self.field))
            met = any(_compare(number, self.op, _number(value)) for value in self.values)
        else:
            met = any(_fits(text, value) for text in _texts(self.field, facts) for value in self.values)
        return met != (self.op == "!=")


@dataclass(frozen=True)
class Selector:
    """What a selector text says: all conditions must hold.

    Attributes:
        text: As the user wrote it.
        words: Bare words among the conditions (``stale``, ``failed``), for the caller to interpret.
    """

    text: str
    words: frozenset[str] = frozenset()
    _conditions: tuple[_Condition, ...] = field(default=(), repr=False)

    def matches(self, facts: CellFacts | CellDescription) -> bool:
        """Say whether all conditions hold."""
        return all(condition.holds(facts) for condition in self._conditions)

    def filter(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells for which all conditions hold."""
        return [cell for cell in cells if self.matches(CellFacts.of(cell))]


def read_selector(text: str, words: Iterable[str] = ()) -> Selector:
    """Read a selector; an empty text matches everything.

    Args:
        text: Conditions apart by blanks. Texts match as patterns with ``*`` and ``?``, exactly where they are in
            quotes; ``shots`` and ``seed`` are ordered, and ``full`` is more than any number of shots.
        words: Bare words that are allowed.

    Raises:
        UserError: It is not understood; the message quotes the part at fault.
    """
    allowed, conditions, present = tuple(words), [], set()
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif match := _CONDITION.match(text, position):
            conditions.append(_condition(match, text))
            position = match.end()
        elif (match := _WORD.match(text, position)) and match[0] in allowed:
            present.add(match[0])
            position = match.end()
        else:
            raise _refusal(text, position, allowed)
    return Selector(text, frozenset(present), tuple(conditions))


def conditions_in(text: str) -> list[str]:
    """Return the conditions and words of a selector, each as it is written."""
    return _PART.findall(text)


def _condition(match: re.Match[str], text: str) -> _Condition:
    name, op = match["field"], match["op"]
    if name not in FIELDS:
        raise UserError(f"selector {shortened(text)!r}: unknown field {shortened(name)!r}", nearest(name, FIELDS))
    values = tuple(re.findall(_VALUE, match["values"]))
    if name in TEXTS and op in _ORDER:
        raise UserError(f"selector {shortened(text)!r}: {name} cannot be compared with {op}", "use = or !=")
    if name in NUMBERS:
        values = tuple(value.strip("\"'") for value in values)
        for value in values:
            if not re.fullmatch(r"[0-9]{1,18}", value) and not (name == "shots" and value == "full"):
                kind = "a whole number or full" if name == "shots" else "a whole number"
                raise UserError(f"selector {shortened(text)!r}: {name} is {kind}, not {shortened(value)!r}")
    return _Condition(name, op, values)


def _refusal(text: str, position: int, words: tuple[str, ...]) -> UserError:
    part = text[position:].split()[0]
    hint = "write conditions like method=lora* shots<=5, apart by blanks"
    if re.fullmatch(r"[\w-]+", part) and (words or part in FIELDS):
        close = nearest(part, (*words, *FIELDS))
        hint = f"write {part}=..." if part in FIELDS else close
    return UserError(f"selector {shortened(text)!r}: {shortened(part)!r} is not understood", hint)


def _texts(name: str, facts: CellFacts | CellDescription) -> tuple[str, ...]:
    """Return the texts that a field stands for; methods and backbones are known by name and by label."""
    if name == "label":
        return (facts.method_label,)
    if name in ("method", "backbone"):
        return str(getattr(facts, name)), str(getattr(facts, f"{name}_label"))
    return (str(getattr(facts, name)),)


def _fits(text: str, value: str) -> bool:
    return text == value[1:-1] if value[0] in "\"'" else fnmatchcase(text, value)


def _number(value: str | int) -> float:
    return math.inf if value == "full" else int(value)


def _compare(left: float, op: str, right: float) -> bool:
    return _ORDER[op](left, right) if op in _ORDER else left == right
