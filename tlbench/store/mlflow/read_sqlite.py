"""Reads MLflow's SQLite file: a snapshot that takes no lock for long and writes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tlbench.core.errors import UserError
from tlbench.store.addresses import sqlite_file
from tlbench.store.mlflow.read_sql import SqlReader

_WAIT_S = 30.0


@dataclass(frozen=True)
class _File:
    """See :class:`tlbench.store.mlflow.read_sql.Database`."""

    place: str
    link: sqlite3.Connection
    json_object: str = "json_group_object(key, value)"

    def rows(self, query: str, **values: int | str) -> Iterable[Any]:
        return self.link.execute(query, values)


@contextmanager
def open_sqlite(uri: str) -> Iterator[SqlReader]:
    """Open the file as it stands now.

    Args:
        uri: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Raises:
        UserError: There is no such file, or it is no MLflow database.
    """
    path = Path(sqlite_file(uri)).absolute()
    if not path.is_file():
        raise UserError(f"{path}: no such file", "nothing has been stored there yet; run the suite first")
    try:
        link = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_WAIT_S, isolation_level=None)
        with closing(link):
            link.execute("BEGIN")  # every query sees the same moment
            yield SqlReader(_File(str(path), link))
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: cannot be read as an MLflow database: {error}") from error
