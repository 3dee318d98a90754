"""Reads a YAML 1.2 text into plain Python values that remember the line they stand on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from tlbench.core.errors import UserError
from tlbench.core.paths import kind_of_file
from tlbench.core.validation import Location, Problem
from tlbench.suite.yaml_errors import in_words

MAX_DEPTH = 40
MAX_VALUES = 200_000
_MAX_BYTES = 32 * 2**20
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {word: value for value, words in (
    (None, ("", "~", "null", "Null", "NULL")),
    (True, ("true", "True", "TRUE")),
    (False, ("false", "False", "FALSE")),
) for word in words}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A parsed YAML text.

    Attributes:
        name: File name, for messages.
        text: The text itself.
        value: Mappings, lists, texts, finite numbers, booleans and None.
        lines: Line (from 1) of each value by its location: keys and list positions from the top.
    """

    name: str
    text: str = field(repr=False)
    value: Any
    lines: dict[Location, int] = field(repr=False)

    def known(self, location: Location) -> Location:
        """Return the location without the steps that the text does not have."""
        here: Location = ()
        for step in location:
            if (*here, step) in self.lines:
                here = (*here, step)
        return here

    def at(self, location: Location) -> str:
        """Return ``file:line`` of a location, or of the nearest thing around it."""
        return f"{self.name}:{self.lines[self.known(location)]}"


def read(path: Path) -> Source:
    """Read a YAML file.

    Raises:
        UserError: The file cannot be read, or is not one document of plain YAML 1.2 with unique keys.
    """
    try:
        text = _content(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder, not a file") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8 text", "save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


def _content(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        UserError: It is a pipe or a device, which may have no end, or far too large.
        OSError: It cannot be read.
    """
    if (kind := kind_of_file(path)) not in ("", "a file", "a folder"):
        raise UserError(f"{path}: is {kind}, not a file", "give the path of a suite file")
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path}: is larger than {_MAX_BYTES // 2**20} MiB, which no suite is")
    return content


def parse(text: str, name: str) -> Source:
    """Read YAML text; ``name`` stands for its file in messages.

    Raises:
        UserError: It is not one document of plain YAML 1.2 with unique keys.
    """
    composer = _Composer(name)
    try:
        value = composer.document(_events(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem, hint = in_words(error)
        raise UserError(f"{name}:{line}: is not valid YAML: {problem}", hint) from error
    except YAMLError as error:
        position = getattr(error, "position", 0)
        line = text[:position].count("\n") + 1
        raise UserError(
            f"{name}:{line}: is not valid YAML: {_forbidden(error)}", "take it out, or escape it"
        ) from error
    except (ValueError, RecursionError, AssertionError, AttributeError, TypeError, IndexError) as error:
        # ruamel.yaml itself trips over a few malformed texts (odd escapes and directives).
        raise UserError(f"{name}:{composer.line}: is not valid YAML: {error}") from error
    return Source(name, text, value, composer.lines)


def _forbidden(error: YAMLError) -> str:
    """Return what a text holds that YAML does not allow anywhere."""
    sign = getattr(error, "character", None)
    return f"it holds the sign U+{sign:04X}" if isinstance(sign, int) else str(error).partition("\n")[0]


def _events(text: str) -> Iterator[Any]:
    return iter(YAML(typ="safe", pure=True).parse(text))


class _Composer:
    """Builds values out of parser events; knows the line it has come to."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Location, int] = {(): 1}
        self.line = 1
        self._name = name
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        self._events: Iterator[Any] = iter(())

    def document(self, events: Iterator[Any]) -> Any:
        self._events = events
        next(events)  # start of the stream
        if isinstance(self._next(), StreamEndEvent):
            raise UserError(f"{self._name}:1: is empty")
        event = self._next()
        self.lines[()] = self.line
        value = self._value(event, ())
        while isinstance(event := self._next(), DocumentEndEvent):
            pass
        if not isinstance(event, StreamEndEvent):
            raise self._refuse("a second document begins; a file holds one")
        return value

    def _next(self) -> Any:
        event = next(self._events)
        self.line = event.start_mark.line + 1
        return event

    def _refuse(self, message: str, hint: str = "") -> UserError:
        return UserError(f"{self._name}:{self.line}: {message}", hint)

    def _value(self, event: Any, here: Location) -> Any:
        before = self._count
        self._grow(1)
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise self._refuse(f"*{event.anchor} stands for nothing that was named &{event.anchor} before")
            shared, size = self._anchors[event.anchor]
            self._grow(size)
            return shared
        if event.tag is not None:
            raise self._refuse(f"the tag {event.tag} is not understood", "write plain values without tags")
        if len(here) > MAX_DEPTH:
            raise self._refuse("nested too deeply")
        value: Any
        if isinstance(event, ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(here)
        else:
            value = self._sequence(here)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _grow(self, by: int) -> None:
        self._count += by
        if self._count > MAX_VALUES:
            raise self._refuse(f"more than {MAX_VALUES:,} values")

    def _mapping(self, here: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                raise self._refuse("a key must be a plain word", "quote a text that holds ? or brackets")
            key = self._scalar(event)
            if not isinstance(key, str):
                raise self._refuse(f"a key must be a word, not {event.value or 'nothing'}", "put it in quotes")
            if key == "<<" and event.style is None:
                raise self._refuse("merge keys (<<) are not part of YAML 1.2", "write the keys out")
            at = (*here, key)
            if key in values:
                raise self._refuse(f"duplicate key {key!r}, first on line {self.lines[at]}")
            self.lines[at] = self.line
            values[key] = self._value(self._next(), at)
        return values

    def _sequence(self, here: Location) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            at = (*here, len(values))
            self.lines[at] = self.line
            values.append(self._value(event, at))
        return values

    def _scalar(self, event: ScalarEvent) -> str | int | float | bool | None:
        text = event.value
        if not is_plain_text(text):
            raise self._refuse("half a character, or a character 0, in a text")
        if event.style:
            return str(text)
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) < 40 else 2**63
            if abs(number) >= 2**63:
                raise self._refuse("a number too large to be meant")
            return number
        if _NOT_FINITE.fullmatch(text):
            raise self._refuse(f"{text} is not a finite number")
        if _FLOAT.fullmatch(text):
            if abs(float(text)) == float("inf"):
                raise self._refuse("a number too large to be meant")
            return float(text)
        return str(text)


def is_plain_text(text: str) -> bool:
    """Say whether a text holds whole characters only, and no character 0."""
    return not any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text)


def refuse(problems: Iterable[Problem], source: Source) -> UserError:
    """Return the error that lists all problems, each with its file and line, in the order of the lines."""
    lines = [(source.lines[source.known(p.where)], f"{source.at(p.where)}: {p.what}", p.hint) for p in problems]
    unique = sorted(dict.fromkeys(lines), key=lambda line: line[0])
    if len(unique) == 1:
        return UserError(unique[0][1], unique[0][2])
    return UserError("\n".join(f"{message}\n  {hint}" if hint else message for _, message, hint in unique))
