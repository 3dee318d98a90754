"""Episodes as a file gives them: a table with a line for each example of an episode, its role there and its class.

The columns are ``episode`` (any name), ``role`` (``support`` or ``query``), ``example`` and ``class`` (any name; it
counts within its episode only). ``example`` names an example of the dataset: an image by its path within the folder or
zip, a text by the text itself, an example of any other source by its number, from 0, in the order of the source. Ways,
shots and queries may differ from episode to episode.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import kind_of_file

COLUMNS = ("episode", "role", "example", "class")
_ROLES = ("support", "query")
_MAX_BYTES = 2**28


class GivenExample(NamedTuple):
    """One line of a file.

    Attributes:
        line: Its number, from 1.
        role: ``support`` or ``query``.
        example: Names an example of the dataset.
        way: Number of its class within the episode, in the order in which the support names them.
    """

    line: int
    role: Literal["support", "query"]
    example: str
    way: int


@dataclass(frozen=True)
class EpisodeTable:
    """What a file of episodes holds, before its examples are looked up.

    Attributes:
        path: The file.
        sha256: Hash of its content.
        episodes: The examples of each episode, by the episode's name, in the order of the file.
    """

    path: Path
    sha256: str
    episodes: Mapping[str, Sequence[GivenExample]]

    @cached_property
    def ways(self) -> int:
        """Classes of the episode that has most."""
        return max(1 + max(each.way for each in lines) for lines in self.episodes.values())

    @property
    def shots(self) -> int:
        """The usual number of support examples of a class, the largest of equally usual ones."""
        return self._usual("support")

    @property
    def queries(self) -> int:
        """The usual number of queries of a class that has any, the largest of equally usual ones."""
        return self._usual("query")

    def _usual(self, role: str) -> int:
        sizes = Counter(
            size
            for lines in self.episodes.values()
            for size in Counter(each.way for each in lines if each.role == role).values()
        )
        return max(sizes, key=lambda size: (sizes[size], size))


class GivenEpisode(NamedTuple):
    """One episode, by rows of its dataset.

    Attributes:
        support: Rows of the support (S,).
        labels: Ways of the support (S,).
        query: Rows of the queries (Q,).
        truth: Ways of the queries (Q,).
    """

    support: NDArray[np.int64]
    labels: NDArray[np.int64]
    query: NDArray[np.int64]
    truth: NDArray[np.int64]


def read_episodes(path: Path) -> EpisodeTable:
    """Read a file of episodes.

    Raises:
        UserError: It is missing or no such table, with the line that is wrong; or an episode cannot be posed.
    """
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8", "save the file as UTF-8") from error
    episodes: dict[str, list[tuple[int, str, str, str]]] = {}
    for line, (episode, role, example, name) in _records(path, text):
        episodes.setdefault(episode, []).append((line, role, example, name))
    if not episodes:
        raise UserError(f"{path}: there are no episodes", f"a line of {', '.join(COLUMNS)} for each example")
    posed = {name: _episode(path, name, lines) for name, lines in episodes.items()}
    return EpisodeTable(path, hashlib.sha256(content).hexdigest(), posed)


def find_rows(
    table: EpisodeTable, rows: Mapping[str, int], allowed: NDArray[np.bool_], where: str
) -> tuple[GivenEpisode, ...]:
    """Look up the examples of a file of episodes in a dataset.

    Args:
        table: The file.
        rows: Row of each example of the dataset, by its name.
        allowed: Which examples of the dataset episodes may pose (N,): those of its test classes.
        where: The dataset, for messages.

    Raises:
        UserError: With the line of an example that the dataset does not have, or that a method may be trained on.
    """
    found = []
    for lines in table.episodes.values():
        for each in lines:
            if each.example not in rows:
                raise UserError(
                    f"{table.path}:{each.line}: {where} has no example {each.example!r}", nearest(each.example, rows)
                )
            if not allowed[rows[each.example]]:
                raise UserError(
                    f"{table.path}:{each.line}: {each.example!r} is of a class of {where} that methods may train on",
                    "let its classes be test classes: test_groups of a folder, or a split of the classes",
                )
        parts = [
            np.array(values, np.int64)
            for role in _ROLES
            for values in zip(*((rows[each.example], each.way) for each in lines if each.role == role), strict=True)
        ]
        found.append(GivenEpisode(*parts))
    return tuple(found)


def _content(path: Path) -> bytes:
    kind = kind_of_file(path)
    if kind != "a file":
        siblings = [each.name for each in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings) if siblings else "path is relative to the suite file"
        raise UserError(f"{path}: {f'is {kind}, not a file' if kind else 'there is no such file'}", hint)
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path}: is larger than {_MAX_BYTES // 2**20} MiB, which no list of episodes is")
    return content


def _records(path: Path, text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Return line number and values of each record, in the order of :data:`COLUMNS`."""
    stream = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[tuple[int, tuple[str, ...]]] = []
    line = 1
    try:
        header = [name.strip().lower() for name in next(stream, [])]
        for name in COLUMNS:
            if header.count(name) != 1:
                what = "there is no column" if name not in header else f"{header.count(name)} columns are called"
                raise UserError(f"{path}:1: {what} {name!r}", f"its columns are {', '.join(COLUMNS)}")
        places = [header.index(name) for name in COLUMNS]
        line = stream.line_num + 1
        for row in stream:
            start, line = line, stream.line_num + 1
            if not row:
                continue
            if len(row) != len(header):
                hint = "quote what holds commas"
                raise UserError(f"{path}:{start}: {len(row)} fields where the header has {len(header)}", hint)
            records.append((start, _record(path, start, [row[place] for place in places])))
    except csv.Error as error:
        raise UserError(f"{path}:{line}: the record that begins here cannot be read: {error}", "") from error
    return records


def _record(path: Path, line: int, values: list[str]) -> tuple[str, ...]:
    for name, value in zip(COLUMNS, values, strict=True):
        if not value.strip():
            raise UserError(f"{path}:{line}: {name} is empty")
    role = values[1].strip().lower()
    if role not in _ROLES:
        raise UserError(f"{path}:{line}: unknown role {values[1]!r}", nearest(role, _ROLES))
    return values[0].strip(), role, values[2], values[3].strip()


def _episode(path: Path, name: str, lines: Sequence[tuple[int, str, str, str]]) -> list[GivenExample]:
    """Return the examples of an episode with the numbers of their classes.

    Raises:
        UserError: It has fewer than two classes, no query, an example twice, or a query of a class without support.
    """
    ways: dict[str, int] = {}
    for _, role, _, label in lines:
        if role == "support":
            ways.setdefault(label, len(ways))
    first = lines[0][0]
    if len(ways) < 2:
        raise UserError(
            f"{path}:{first}: episode {name!r} has {len(ways)} classes with support", "it needs two or more"
        )
    if all(role == "support" for _, role, _, _ in lines):
        raise UserError(f"{path}:{first}: episode {name!r} has no query", "give it lines with the role query")
    seen: dict[str, int] = {}
    examples = []
    for line, role, example, label in lines:
        if label not in ways:
            what = f"class {label!r} has no support in episode {name!r}"
            raise UserError(f"{path}:{line}: {what}", nearest(label, ways))
        if example in seen:
            raise UserError(f"{path}:{line}: {example!r} stands in episode {name!r} already, on line {seen[example]}")
        seen[example] = line
        examples.append(GivenExample(line, "support" if role == "support" else "query", example, ways[label]))
    return examples
