"""Opens MLflow's client on a store, so that processes which open a new database at once do not break it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tlbench.store import postgresql
from tlbench.store.addresses import SQLITE
from tlbench.store.database import WAIT_S, sqlite_errors_of
from tlbench.store.mlflow.tracking_uri import is_server, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOCK = 0x746C62656E6368  # PostgreSQL's name of the lock under which tables are created


def connect(uri: str, workspace: Path) -> MlflowClient:
    """Return a client of a store, with the tables of a new database created.

    Args:
        uri: From :func:`tlbench.store.mlflow.tracking_uri.prepare_tracking`.
        workspace: Folder of the workspace.
    """
    from mlflow import MlflowClient

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its retries are nobody's news
    with opening_lock(uri, workspace), _without_strays(uri):
        client = MlflowClient(uri)
        if not is_server(uri):
            client.search_experiments(max_results=1)  # creates the tables of a new database
            path = sqlite_path(uri)
            if path is not None:
                # A mode of the file, kept for good. When a reader stands in the way, the next writer sets it.
                with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode = WAL")
    return client


@contextmanager
def _without_strays(uri: str) -> Iterator[None]:
    """Remove the folders that MLflow makes for an SQLite address as it is spelt, besides those of the file it names."""
    spelt = Path(uri.removeprefix(SQLITE).partition("?")[0]).parent
    made = [folder for folder in (spelt, *spelt.parents) if sqlite_path(uri) is not None and not folder.exists()]
    yield
    for folder in made:
        with suppress(OSError):  # one that holds something is none of these
            folder.rmdir()


def count_rows(uri: str) -> None:
    """Let SQLite count its rows, without which MLflow's pages sort large experiments for minutes."""
    path = sqlite_path(uri)
    if path is not None:
        with sqlite_errors_of(path), closing(sqlite3.connect(path, timeout=WAIT_S)) as connection:
            connection.execute("PRAGMA analysis_limit = 1000")
            connection.execute("ANALYZE")


@contextmanager
def opening_lock(uri: str, workspace: Path) -> Iterator[None]:
    """Let one process at a time open a database: on a new one MLflow's migrations crash each other.

    A PostgreSQL server that is down says so at once, where MLflow by itself would try again for a minute.
    """
    if postgresql.is_postgresql(uri):
        from sqlalchemy import text

        with postgresql.engine(uri).connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))  # until the connection ends
            yield
        return
    path = sqlite_path(uri)
    lock = path.with_name(f"{path.name}.lock") if path is not None else workspace / "mlflow.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield
