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
    """One connection to an SQLite file in write-ahead mode.

    Write-ahead with ``synchronous=NORMAL``: a process may be killed at any byte and the file keeps every committed
    transaction; only a loss of power may take the last ones, whole.

    Args:
        path: The file; it is made when missing.
        schema: Statements that make the tables of a new file.
        version: Version of that schema, kept in the file.

    Raises:
        UserError: The file is damaged, of another version, or something else.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        with sensible(path):
            self.link = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
            try:
                self._prepare(schema, version)
            except BaseException:
                self.link.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        self.link.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, every statement for itself."""
        with sensible(self.path):
            yield self.link

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one transaction, committed at the end, undone by any exception."""
        with sensible(self.path):
            self.link.execute("BEGIN IMMEDIATE")
            try:
                yield self.link
                self.link.execute("COMMIT")
            except BaseException:
                if self.link.in_transaction:
                    self.link.execute("ROLLBACK")
                raise

    def _prepare(self, schema: str, version: int) -> None:
        self.link.execute("BEGIN")  # one snapshot: another process may be making the tables
        made = self._recognise(version)
        self.link.execute("COMMIT")
        _write_ahead(self.link)
        self.link.execute("PRAGMA synchronous = NORMAL")
        self.link.execute("PRAGMA temp_store = MEMORY")
        if not made:
            with self.write():
                if not self._recognise(version):  # another process may have been faster
                    for statement in filter(str.strip, schema.split(";")):
                        self.link.execute(statement)
                    self.link.execute(f"PRAGMA user_version = {version}")

    def _recognise(self, version: int) -> bool:
        """Say whether the file has the tables; refuse one that is something else."""
        (found,) = self.link.execute("PRAGMA user_version").fetchone()
        (tables,) = self.link.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and found != version:
            raise self._foreign(found, version)
        return bool(tables)

    def _foreign(self, found: int, version: int) -> UserError:
        if found == 0:
            return UserError(f"{self.path}: a database, but not one of tlbench", "give another workspace")
        age, mend = ("a newer", "update tlbench") if found > version else ("an older", "use that tlbench")
        return UserError(
            f"{self.path}: written by {age} tlbench (format {found}, this one reads {version})",
            f"{mend}, or give another workspace",
        )


def _write_ahead(link: sqlite3.Connection) -> None:
    """Turn write-ahead mode on; while another process does the same, SQLite says "locked" without waiting."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            link.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def sensible(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file into a :class:`UserError` that names it and what to do."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        hint = next((hint for prefix, hint in _HINTS.items() if name.startswith(prefix)), "")
        raise UserError(f"{path}: {error}", hint) from error
