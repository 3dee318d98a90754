"""The user's own texts: a table (CSV, TSV, Parquet) or JSONL file with text, label and, if there are, split, domain."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import kind_of_file
from tlbench.data.decoded import Decoded
from tlbench.data.example_splits import divide
from tlbench.data.file_marks import content_hash
from tlbench.data.source import DataPath
from tlbench.data.split_names import SPLITS, split_of
from tlbench.data.text_columns import USUAL_NAMES

VERSION = 3
_REQUIRED, _OPTIONAL = ("text", "label"), ("split", "domain")
_FIELDS = _REQUIRED + _OPTIONAL
_DELIMITERS = {";": ";", "\t": "tab", "|": "|"}  # what else lies between columns, and how a suite writes it
_LONGEST_SHOWN = 60  # characters of a value in an error
_WHERE = "path is relative to the suite file"
_LONGEST = 2**31 - 1  # characters of a field; more than a C long holds is refused on some machines


class Params(Settings):
    """Where the texts are."""

    path: DataPath = Field(description="a .csv, .tsv, .jsonl or .parquet file with text, label[, split][, domain]")
    text_column: str = Field("text", min_length=1, description="the column (or key of JSONL) with the texts")
    label_column: str = Field("label", min_length=1, description="the column (or key of JSONL) with the classes")
    delimiter: str | None = Field(
        None, description="what lies between the columns of a table: a character, or tab; by default , (.tsv: tab)"
    )


@dataclass(frozen=True)
class Line:
    """One record and where it stands."""

    at: str
    value: dict[str, Any]


def check(params: Params) -> None:
    """Refuse columns and delimiters that cannot be meant.

    Raises:
        UserError: One column is named for two things, or the delimiter is not one character that may stand so.
    """
    columns = [column.strip().lower() for column in _columns(params).values()]
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise UserError(f"texts: the column {twice!r} is named for two things", "give text_column and label_column")
    delimiter = _delimiter(params)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(f"texts: delimiter {params.delimiter!r} is not one character", "e.g. delimiter: ';' or tab")


def signature(params: Params) -> Any:
    """Return the path and the hash of the file."""
    path = _file(params)
    try:
        return [str(path.resolve()), content_hash(path)]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def decode(params: Params, folder: Path) -> Decoded:
    """Return the texts in the order of the file; a split column is the official split, else a fifth is held out."""
    path = _file(params)
    kind, columns = path.suffix.lower(), _columns(params)
    if kind not in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"):
        raise UserError(
            f"{path}: texts are read from .csv, .tsv, .jsonl or .parquet files", "give the file one of these endings"
        )
    try:
        table = kind in (".csv", ".tsv")
        columns = {name: column.strip().lower() for name, column in columns.items()} if table else columns
        whole = _parquet if kind == ".parquet" else _jsonl
        lines = partial(_csv, path, columns, _delimiter(params)) if table else partial(whole, path)
        records = [_record(line, columns) for line in lines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{_undecodable(path)}: not UTF-8", "save the file as UTF-8") from error
    if not records:
        raise UserError(f"{path}: there are no texts")
    text, label, split, domain = (list(column) for column in zip(*records, strict=True))
    for name, column in (("split", split), ("domain", domain)):
        empty = [not value.strip() for value in column]
        if any(empty) and not all(empty):
            at = next(islice(lines(), empty.index(True), None)).at
            raise UserError(f"{at}: this record has no {name}, but others do", f"give all a {name}, or none")
    notes = [note for note in (_respelt("label", label), _respelt("domain", domain)) if note]
    label, domain = ([_meant(name) for name in names] for names in (label, domain))
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
        warnings=(*notes, *parts.warnings),
    )


def _columns(params: Params) -> dict[str, str]:
    return {"text": params.text_column, "label": params.label_column, "split": "split", "domain": "domain"}


def _delimiter(params: Params) -> str:
    if params.delimiter is None:
        return "\t" if Path(params.path).suffix.lower() == ".tsv" else ","
    return "\t" if params.delimiter in ("tab", "\\t") else params.delimiter


def _respelt(what: str, names: Iterable[str]) -> str:
    """Return a note where names differ only in blanks around them or in how Unicode spells them, else nothing."""
    spelt = set(names)
    several = {meant for meant, count in Counter(map(_meant, spelt)).items() if meant and count > 1}
    if not several:
        return ""
    first = min(several)
    forms = {unicodedata.normalize("NFC", name) for name in spelt if _meant(name) == first}
    how = "is spelt in two ways in Unicode" if len(forms) == 1 else "stands with and without blanks around it"
    return f"the {what} {first!r} {how}: read as one" + (f" ({len(several)} such)" if len(several) > 1 else "")


def _meant(name: str) -> str:
    """Return a name without blanks around it, in Unicode's composed form."""
    return unicodedata.normalize("NFC", name.strip())


def _file(params: Params) -> Path:
    path = Path(params.path)
    kind = kind_of_file(path)
    if kind != "a file":
        raise UserError(f"{path}: {f'is {kind}, not a file' if kind else 'there is no such file'}", _WHERE)
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


def _csv(path: Path, columns: dict[str, str], delimiter: str) -> Iterator[Line]:
    """Yield the records of a table, each with the line on which it begins."""
    between = {",": "commas", "\t": "tabs"}.get(delimiter, repr(delimiter))
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # of the whole process: raised, and never lowered
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter, strict=True)
        start = 1
        try:
            header = [name.strip().lower() for name in next(rows, [])]
            _check_header(path, header, columns, delimiter)
            start = rows.line_num + 1
            for row in rows:
                at, start = f"{path}:{start}", rows.line_num + 1
                if not row:
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{at}: {len(row)} fields where the header has {len(header)}",
                        f"quote texts that hold {between}",
                    )
                yield Line(at, dict(zip(header, row, strict=True)))
        except csv.Error as error:
            raise UserError(
                f"{path}:{start}: the record that begins here cannot be read: {error} (line {rows.line_num})",
                f"quote texts that hold {between} or quotes, write a quote inside them twice, and close each",
            ) from error


def _check_header(path: Path, header: list[str], columns: dict[str, str], delimiter: str) -> None:
    for name in _REQUIRED:
        if columns[name] not in header:
            other = next((mark for mark in (",", *_DELIMITERS) if mark != delimiter and mark in "".join(header)), "")
            if len(header) == 1 and other:
                shown, meant = ("tabs" if mark == "\t" else repr(mark) for mark in (other, delimiter))
                raise UserError(
                    f"{path}:1: its columns lie apart by {shown}, not by {meant}",
                    f"add delimiter: {_DELIMITERS.get(other, other)!r} to the dataset",
                )
            raise UserError(f"{path}:1: there is no column {columns[name]!r}", _hint(name, header, columns))
    for column in columns.values():
        if header.count(column) > 1:
            raise UserError(f"{path}:1: {header.count(column)} columns are called {column!r}", "rename all but one")


def _hint(name: str, given: Iterable[str], columns: dict[str, str]) -> str:
    """Return what to write into the suite where a column or key is missing: those that others call so, or the nearest.

    Args:
        name: ``text`` or ``label``, whose column is missing.
        given: The columns that there are.
        columns: What the suite calls the columns.
    """
    there = [column for column in given if column]
    if not there:
        return "the first line names the columns"
    free = [column for column in there if column not in columns.values()]
    usual = {
        key: next((column for column in free if column.lower() in USUAL_NAMES[key]), "")
        for key in _REQUIRED
        if columns[key] not in there
    }
    if usual[name]:
        lines = ", ".join(f"{key}_column: {column}" for key, column in usual.items() if column)
        return f"add {lines} to the dataset"
    close = nearest(columns[name], free) if free else ""
    if close.startswith("did you mean"):
        return close
    if name in there and columns[name] != name:
        return f"leave {name}_column out: there is a column {name!r}"
    return f"its columns are {', '.join(there[:12])}; add {name}_column: NAME to the dataset"


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
                raise UserError(
                    f"{at}: each line is an object with text and label, not {_shown(value)}",
                    'e.g. {"text": "as it is", "label": "its class"}',
                )
            yield Line(at, value)


def _parquet(path: Path) -> Iterator[Line]:
    """Yield the rows of a Parquet file, whole numbers and truth values as the texts that a table would have."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches())
            for number, row in enumerate(rows, 1):
                value = {key: str(item) if isinstance(item, int) else item for key, item in row.items()}
                yield Line(f"{path}: row {number}", value)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: is no Parquet file that can be read: {reason}", "save it anew") from error


def _record(line: Line, columns: dict[str, str]) -> tuple[str, ...]:
    fields = []
    for name in _FIELDS:
        column = columns[name]
        value = line.value.get(column)
        if isinstance(value, int) and not isinstance(value, bool) and name != "text":
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise UserError(f"{line.at}: {column} must be a text, not {_shown(value)}")
        value = value or ""
        _check_whole(line.at, column, value)
        if name in _REQUIRED and not value.strip():
            hint = _hint(name, line.value, columns) if column not in line.value and line.value else ""
            raise UserError(f"{line.at}: {column} is missing or empty", hint)
        fields.append(value)
    fields[2] = split_of(fields[2]) or fields[2].strip().lower()
    if fields[2] and fields[2] not in SPLITS:
        raise UserError(f"{line.at}: unknown split {fields[2]!r}", nearest(fields[2], SPLITS))
    return tuple(fields)


def _shown(value: Any) -> str:
    """Return what a value of JSON is, in words, or the value itself where it is a single one."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


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
