"""A table as it is kept beside the page: csv in full precision, and markdown as people read it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

Value = str | int | float | bool | None


class Bold(str):
    """A cell that stands out."""

    __slots__ = ()


@dataclass(frozen=True)
class TablePart:
    """One table as it is shown.

    Attributes:
        title: Over the table; may be empty.
        head: Column headings.
        body: Rows of as many cells.
        left: Columns of words, set flush left; the others hold numbers.
        note: What a reader must know, under the title.
    """

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    left: Sequence[int]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the report: rows for a machine, and what people are shown of them.

    Attributes:
        name: File name without its ending.
        records: Rows by column, numbers unrounded and as fractions of 1.
        columns: Columns of the csv file where there is no row.
        parts: What is shown of it.
        is_always_written: Whether its files are written, with headings only, where it has no row.
    """

    name: str
    records: Sequence[Mapping[str, Value]]
    columns: Sequence[str]
    parts: Sequence[TablePart]
    is_always_written: bool = False

    def __bool__(self) -> bool:
        """Say whether the table has a row."""
        return bool(self.records)


def csv(table: Table) -> str:
    """Return one line a record."""
    columns = list(dict.fromkeys(name for record in table.records for name in record)) or list(table.columns)
    return pd.DataFrame(table.records, columns=columns).to_csv(index=False, lineterminator="\n")


def markdown(table: Table) -> str:
    """Return one table a part."""
    return "\n".join(map(_markdown, table.parts)) or "No results.\n"


def _markdown(part: TablePart) -> str:
    title = f"### {_escaped(part.title)}\n\n" if part.title else ""
    note = f"{part.note}\n\n" if part.note else ""
    rule = ["---" if column in part.left else "---:" for column in range(len(part.head))]
    lines = [[_cell(cell) for cell in part.head], rule, *([_cell(cell) for cell in row] for row in part.body)]
    return title + note + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(cell: str) -> str:
    return f"**{_escaped(cell)}**" if isinstance(cell, Bold) else _escaped(cell)


def _escaped(cell: str) -> str:
    """Leave nothing in a name that markdown would take for markup or for the end of a cell."""
    escaped = html.escape(" ".join(cell.split()), quote=False)
    for mark in "\\`*_[]|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
