"""Texts to predict for: a CSV, TSV, JSONL or Parquet file with a column of texts, a file of lines, or a list."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import kind_of_file
from tlbench.inference.inputs import Input, Unreadable

_KINDS = ".csv, .tsv, .jsonl, .ndjson, .parquet or .txt"
_ID = "id"
_LONGEST = 2**31 - 1  # characters of a field


def read_texts(source: Any, column: str = "text") -> Iterator[Input | Unreadable]:
    """Yield texts in order; their names are those of the column ``id`` where there is one, else numbers from 1 on.

    Args:
        source: A path, or several texts.
        column: The column (or key) with the texts; a .txt file has one text a line.

    Raises:
        UserError: There is no such file, it is none that texts are read from, is damaged, or has no such column.
    """
    if not isinstance(source, str | Path):
        yield from (_checked(str(number), text) for number, text in enumerate(source))
        return
    path = Path(source)
    kind, ending = kind_of_file(path), path.suffix.lower()
    if kind != "a file":
        what = f"is {kind}, not a file" if kind else "there is no such file"
        raise UserError(f"{path}: {what}", f"the model reads texts: give a {_KINDS} file (in Python also a list)")
    read = {".txt": _lines, ".csv": _table, ".tsv": _table, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    if ending not in read:
        raise UserError(f"{path}: texts are read from {_KINDS} files", "give the file one of these endings")
    any_text = False
    try:
        for each in read[ending](path, column):
            any_text = True
            yield each
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8", "save the file as UTF-8") from error
    if not any_text:
        raise UserError(f"{path}: there are no texts", "give a file that has some")


def _checked(name: str, text: Any) -> Input | Unreadable:
    if not isinstance(text, str):
        return Unreadable(name, "is no text")
    if not text.strip():
        return Unreadable(name, "is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        return Unreadable(name, "holds half a character")
    return Input(name, text)


def _lines(path: Path, column: str) -> Iterator[Input | Unreadable]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            yield _checked(str(number), line.rstrip("\r\n"))


def _table(path: Path, column: str) -> Iterator[Input | Unreadable]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = [name.strip().lower() for name in next(rows, [])]
            place = _place(path, column.strip().lower(), header)
            for number, row in enumerate(filter(None, rows), 1):
                name = row[header.index(_ID)] if _ID in header and len(row) == len(header) else str(number)
                if len(row) != len(header):
                    yield Unreadable(name, f"has {len(row)} fields where the header has {len(header)}")
                else:
                    yield _checked(name, row[place])
        except csv.Error as error:
            raise UserError(
                f"{path}:{rows.line_num}: cannot be read: {error}", "quote texts that hold commas"
            ) from error


def _jsonl(path: Path, column: str) -> Iterator[Input | Unreadable]:
    with path.open(encoding="utf-8-sig") as stream:
        number = 0
        for line in stream:
            if not line.strip():
                continue
            number += 1
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                yield Unreadable(str(number), "is not JSON")
                continue
            if not isinstance(value, dict):
                yield Unreadable(str(number), "is no object with a text")
                continue
            if number == 1:
                _place(path, column, list(value))
            yield _checked(str(value.get(_ID, number)), value.get(column))


def _parquet(path: Path, column: str) -> Iterator[Input | Unreadable]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        _place(path, column, names)
        number = 0
        for batch in file.iter_batches(columns=[column, *([_ID] if _ID in names else [])]):
            for row in batch.to_pylist():
                number += 1
                yield _checked(str(row.get(_ID, number)), row[column])
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read as Parquet: {reason}", "write the file again") from error


def _place(path: Path, column: str, there: Sequence[str]) -> int:
    if column not in there:
        hint = nearest(column, there) if there else "the first line names the columns"
        raise UserError(f"{path}: there is no column {column!r}", f"{hint} (--text-column says which holds the texts)")
    return there.index(column)
