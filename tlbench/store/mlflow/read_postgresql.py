"""Reads MLflow's PostgreSQL database: a snapshot that blocks nobody and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlbench.core.errors import UserError
from tlbench.store.addresses import redacted, without_credentials
from tlbench.store.mlflow.read_sql import SqlReader
from tlbench.store.postgresql import engine

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError

_ROWS = 5000  # fetched at a time
_HINTS = {
    "password": "give USER:PASSWORD@ in the address, or PGUSER and PGPASSWORD in the environment",
    "does not exist": "is the address right? `createdb NAME` makes a database, and a suite's run its tables",
}
_FOREIGN = ("42P01", "42703")  # a table, or a column, is missing


@dataclass(frozen=True)
class _Database:
    """See :class:`tlbench.store.mlflow.read_sql.Database`."""

    place: str
    link: Connection
    json_object: str = "CAST(json_object_agg(key, value) AS text)"

    def rows(self, query: str, **values: int | str) -> Iterable[Any]:
        from sqlalchemy import text

        return self.link.execute(text(query), values)


@contextmanager
def open_postgresql(uri: str) -> Iterator[SqlReader]:
    """Open the database as it stands now.

    Args:
        uri: See :func:`tlbench.store.postgresql.address`.

    Raises:
        UserError: The driver is missing, the server cannot be reached or refuses, or the database is not MLflow's.
    """
    from sqlalchemy.exc import DBAPIError

    place = without_credentials(uri)
    try:
        with engine(uri).connect() as plain:
            link = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True, yield_per=_ROWS)
            yield SqlReader(_Database(place, link))
    except DBAPIError as error:
        raise _user_error(error, uri) from error


def _user_error(error: DBAPIError, uri: str) -> UserError:
    place, message = without_credentials(uri), redacted(" ".join(str(error.orig).split()), uri)
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state in _FOREIGN:
        return UserError(f"{place}: cannot be read as an MLflow database: {message}", "is it the right one?")
    hint = next((hint for part, hint in _HINTS.items() if part in message), "is it running, and is the address right?")
    return UserError(f"{place}: cannot read the database: {message}", hint)
