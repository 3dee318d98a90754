"""The user's own texts: a CSV or JSONL file with text, label and, optionally, split and domain."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.data.decoded import Decoded
from tlbench.data.example_splits import divide
from tlbench.data.source import DataPath
from tlbench.data.split_names import SPLITS, split_of

VERSION = 2
_REQUIRED, _OPTIONAL = ("text", "label"), ("split", "domain")
_FIELDS = _REQUIRED + _OPTIONAL
_LONGEST = 2**31 - 1  # characters of a field; more than a C long holds is refused on some machines


class Params(Settings):
    """Where the texts are."""

    path: DataPath = Field(description="a .csv or .jsonl file with text, label[, split][, domain]")


@dataclass(frozen=True)
class Line:
    """One record and where it stands."""

    at: str
    value: dict[str, Any]


def signature(params: Params) -> Any:
    """Return path, size and time of the file."""
    path = _file(params)
    facts = path.stat()
    return [str(path.resolve()), facts.st_size, facts.st_mtime_ns]


def decode(params: Params, folder: Path) -> Decoded:
    """Return the texts in the order of the file; a split column is the official split, else a fifth is held out."""
    path = _file(params)
    reader = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl}.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: texts are read from .csv or .jsonl files")
    try:
        records = [_record(line) for line in reader(path)]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{_undecodable(path)}: not UTF-8", "save the file as UTF-8") from error
    if not records:
        raise UserError(f"{path}: there are no texts")
    text, label, split, domain = (list(column) for column in zip(*records, strict=True))
    for name, column in (("split", split), ("domain", domain)):
        if "" in column and any(column):
            raise UserError(f"{path}: record {column.index('') + 1} has no {name}, but others do")
    classes, y = np.unique(np.asarray(label), return_inverse=True)
    known = tuple(map(str, classes))
    domains = tuple(sorted(set(domain))) if domain[0] else ()
    parts = divide(str(path), split if split[0] else None, y, known, domain if domains else None)
    return Decoded(
        x=text,
        y=y.astype(np.int64),
        part=parts.part,
        classes=known,
        domain=np.searchsorted(domains, domain).astype(np.int64) if domains else None,
        domains=domains,
        class_splits=parts.class_splits,
        warnings=parts.warnings,
    )


def _file(params: Params) -> Path:
    path = Path(params.path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file", "path is relative to the suite file")
    return path


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _csv(path: Path) -> Iterator[Line]:
    """Yield the records of a CSV file, each with the line on which it begins."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # of the whole process: raised, and never lowered
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, strict=True)
        start = 1
        try:
            header = [name.strip().lower() for name in next(rows, [])]
            _check_header(path, header)
            start = rows.line_num + 1
            for row in rows:
                at, start = f"{path}:{start}", rows.line_num + 1
                if not row:
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{at}: {len(row)} fields where the header has {len(header)}", "quote texts that hold commas"
                    )
                yield Line(at, dict(zip(header, row, strict=True)))
        except csv.Error as error:
            raise UserError(
                f"{path}:{start}: the record that begins here cannot be read: {error} (line {rows.line_num})",
                "quote texts that hold commas or quotes, write a quote inside them twice, and close each",
            ) from error


def _check_header(path: Path, header: list[str]) -> None:
    for name in _REQUIRED:
        if name not in header:
            close = nearest(name, header) if header else "the first line names the columns"
            raise UserError(f"{path}:1: there is no column {name!r}", close)
    for name in _FIELDS:
        if header.count(name) > 1:
            raise UserError(f"{path}:1: {header.count(name)} columns are called {name!r}", "rename all but one")


def _jsonl(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, text in enumerate(stream, 1):
            at = f"{path}:{number}"
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except json.JSONDecodeError as error:
                raise UserError(f"{at}: not JSON: {error.msg} (column {error.colno})") from error
            except ValueError as error:
                raise UserError(f"{at}: a number has too many digits", "write it as a text, in quotes") from error
            except RecursionError as error:
                raise UserError(f"{at}: too many brackets inside one another") from error
            if not isinstance(value, dict):
                raise UserError(f"{at}: each line is an object with text and label, not {type(value).__name__}")
            yield Line(at, value)


def _record(line: Line) -> tuple[str, ...]:
    fields = []
    for name in _FIELDS:
        value = line.value.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and name != "text":
            value = str(value)
        if value is not None and not isinstance(value, str):
            shown = (
                "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else json.dumps(value)
            )
            raise UserError(f"{line.at}: {name} must be a text, not {shown}")
        value = value or ""
        _check_whole(line.at, name, value)
        if name in _REQUIRED and not value.strip():
            hint = nearest(name, line.value) if name not in line.value and line.value else ""
            raise UserError(f"{line.at}: {name} is missing or empty", hint)
        fields.append(value if name == "text" else value.strip())
    fields[2] = split_of(fields[2]) or fields[2].lower()
    if fields[2] and fields[2] not in SPLITS:
        raise UserError(f"{line.at}: unknown split {fields[2]!r}", nearest(fields[2], SPLITS))
    return tuple(fields)


def _check_whole(at: str, name: str, value: str) -> None:
    """Refuse half of a character that JSON writes in two halves: no file in UTF-8 can hold it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = ascii(value[error.start])[1:-1]
        raise UserError(
            f"{at}: {name} holds half a character, {half}, at place {error.start + 1}",
            "a text that is cut inside an emoji ends so: cut it between characters",
        ) from error
