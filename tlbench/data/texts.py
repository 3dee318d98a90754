"""The user's own texts: a CSV or JSONL file with text, label and, if wanted, split and domain."""

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
from tlbench.data.parts import SPLITS, divide

VERSION = 1
_REQUIRED, _OPTIONAL = ("text", "label"), ("split", "domain")
_FIELDS = _REQUIRED + _OPTIONAL
_ALIASES = {"validation": "val", "valid": "val", "dev": "val"}


class Params(Settings):
    """Where the texts are."""

    path: str = Field(description="a .csv or .jsonl file with text, label[, split][, domain]")


@dataclass(frozen=True)
class Line:
    """One record and where it stands."""

    at: str
    value: dict[str, Any]


def signature(params: Params) -> Any:
    """Return place, size and time of the file."""
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
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, strict=True)
        try:
            header = [name.strip().lower() for name in next(rows, [])]
            for name in _REQUIRED:
                if name not in header:
                    close = nearest(name, header) if header else "the first line names the columns"
                    raise UserError(f"{path}:1: there is no column {name!r}", close)
            for row in rows:
                at = f"{path}:{rows.line_num}"
                if not row:
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{at}: {len(row)} fields where the header has {len(header)}", "quote texts that hold commas"
                    )
                yield Line(at, dict(zip(header, row, strict=True)))
        except csv.Error as error:
            raise UserError(f"{path}:{rows.line_num}: {error}", "quote texts that hold commas or quotes") from error


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
            if not isinstance(value, dict):
                raise UserError(f"{at}: each line is an object with text and label, not {type(value).__name__}")
            yield Line(at, value)


def _record(line: Line) -> tuple[str, ...]:
    found = []
    for name in _FIELDS:
        value = line.value.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and name != "text":
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise UserError(f"{line.at}: {name} must be a text, not {json.dumps(value, default=str)[:40]}")
        value = value or ""
        if name in _REQUIRED and not value.strip():
            hint = nearest(name, line.value) if name not in line.value and line.value else ""
            raise UserError(f"{line.at}: {name} is missing or empty", hint)
        found.append(value if name == "text" else value.strip())
    found[2] = _ALIASES.get(found[2].lower(), found[2].lower())
    if found[2] and found[2] not in SPLITS:
        raise UserError(f"{line.at}: unknown split {found[2]!r}", nearest(found[2], SPLITS))
    return tuple(found)
