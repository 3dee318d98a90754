"""Opens an SQLite file so that several processes may use it at once and none can be killed into breaking it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlbench.core.errors import UserError

WAIT_S = 30.0

_HINTS = {
    "SQLITE_NOTADB": "move the file away and run again: a new one is begun, and what MLflow holds stays",
    "SQLITE_CORRUPT": "move the file away and run again: a new one is begun, and what MLflow holds stays",
    "SQLITE_FULL": "make room on the disk and run again: what was committed before is safe",
    "SQLITE_IOERR": "is the disk full or gone? what was committed before is safe",
    "SQLITE_READONLY": "make the file and its folder writable",
    "SQLITE_CANTOPEN": "its folder must exist and be writable",
    "SQLITE_BUSY": f"another process holds it for over {WAIT_S:g} s",
    "SQLITE_PROTOCOL": "it must lie on a disk of this machine, not on a network file system",
}


class Database:
    """One connection to an SQLite file in write-ahead mode, for one thread.

    Write-ahead with ``synchronous=NORMAL``: a process may be killed at any byte and the file keeps every committed
    transaction; only a loss of power may lose the last ones, each of them whole.

    Args:
        path: The file; created when missing.
        schema: Statements that create the tables of a new file.
        version: Version of that schema, kept in the file.

    Raises:
        UserError: The file is damaged, of another version, or something else.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        with sqlite_errors_of(path):
            self.connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
            try:
                self._prepare(schema, version)
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, each statement in a transaction of its own."""
        with sqlite_errors_of(self.path):
            yield self.connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one transaction: committed at the end, rolled back by any exception."""
        with sqlite_errors_of(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _prepare(self, schema: str, version: int) -> None:
        self.connection.execute("BEGIN")  # one snapshot: another process may be creating the tables
        has_tables = self._has_tables(version)
        self.connection.execute("COMMIT")
        _set_write_ahead_mode(self.connection)
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute("PRAGMA temp_store = MEMORY")
        if not has_tables:
            with self.write():
                if not self._has_tables(version):  # another process may have been faster
                    for statement in filter(str.strip, schema.split(";")):
                        self.connection.execute(statement)
                    self.connection.execute(f"PRAGMA user_version = {version}")

    def _has_tables(self, version: int) -> bool:
        """Say whether the file has the tables.

        Raises:
            UserError: It has others.
        """
        (own,) = self.connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and own != version:
            raise self._other_version(own, version)
        return bool(tables)

    def _other_version(self, own: int, version: int) -> UserError:
        if own == 0:
            return UserError(f"{self.path}: a database, but not one of tlbench", "give another workspace")
        age, remedy = ("a newer", "update tlbench") if own > version else ("an older", "use that tlbench")
        return UserError(
            f"{self.path}: written by {age} tlbench (format {own}, this one reads {version})",
            f"{remedy}, or give another workspace",
        )


def _set_write_ahead_mode(connection: sqlite3.Connection) -> None:
    """Turn write-ahead mode on; while another process does the same, SQLite says "locked" without waiting."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def sqlite_errors_of(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file into a :class:`UserError` that names it and what to do."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        hint = next((hint for prefix, hint in _HINTS.items() if name.startswith(prefix)), "")
        raise UserError(f"{path}: {error}", hint) from error
