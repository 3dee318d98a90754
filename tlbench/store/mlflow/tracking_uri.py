"""Where results go: the address of MLflow's store, as the user, the environment or the workspace gives it."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tlbench.core.errors import UserError
from tlbench.core.paths import expand, is_utf8, readable, shortened
from tlbench.store import postgresql
from tlbench.store.addresses import SQLITE, sqlite_address, sqlite_file, without_credentials
from tlbench.store.database import WAIT_S, sqlite_errors_of

_SERVERS = ("http", "https", "databricks")
_LEVEL = "MLFLOW_LOGGING_LEVEL"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    _LEVEL: "CRITICAL",  # errors are reported once, by the background writer
    "PGCONNECT_TIMEOUT": "30",
}


def prepare_tracking(uri: str | None, workspace: Path) -> str:
    """Return the tracking URI, and set what MLflow reads from the environment, unless the user did. Asks no server.

    Call it before mlflow is imported: some of the settings count at its import.

    Args:
        uri: Where the user wants results; else ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the workspace.
        workspace: Folder of the workspace.

    Raises:
        UserError: The URI names a plain folder, or a file that is no database; or it is no address of a PostgreSQL
            database, or the driver for it is missing.
    """
    if "mlflow" in sys.modules and _LEVEL not in os.environ:  # somebody imported it before: its level stands already
        logging.getLogger("mlflow").setLevel(_ENVIRONMENT[_LEVEL])
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_address(f"{workspace.absolute() / 'mlflow.db'}")
    _refuse_impossible(uri)
    if "://" not in uri or uri.startswith("file:"):
        name = unquote(_path_of(uri)).rstrip("/") or "mlflow"
        raise UserError(
            f"{shortened(uri)}: MLflow does not write to plain folders", f"give {SQLITE}{name}.db or http://HOST:PORT"
        )
    if postgresql.is_postgresql(uri):
        postgresql.address(uri)
    if not uri.startswith(SQLITE):
        return uri
    path = expand(sqlite_file(uri)).absolute()
    if path.exists():
        with sqlite_errors_of(path), closing(sqlite3.connect(path, timeout=WAIT_S)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema")
    _, asked, query = uri.partition("?")
    return f"{sqlite_address(str(path))}{asked}{query}"


def _path_of(uri: str) -> str:
    try:
        return urlsplit(uri).path
    except ValueError:  # brackets that hold no host
        return ""


def _refuse_impossible(uri: str) -> None:
    """Refuse what no library can read as an address: its exceptions are of many kinds.

    Raises:
        UserError: A server's host or port cannot be one, or the address is no text.
    """
    shown = shortened(readable(without_credentials(uri)))
    hint = f"give {SQLITE}FILE.db or http://HOST:PORT"
    if not is_utf8(uri):
        raise UserError(f"{shown!r} is no address: it is not UTF-8", hint)
    if is_server(uri):
        try:
            parts = urlsplit(uri)
            if parts.scheme != "databricks" and not (parts.hostname and parts.port != 0):
                raise ValueError("it names no host")
        except ValueError as error:
            raise UserError(f"{shown!r} is no address: {error}", hint) from error


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of the SQLite file that a tracking URI names, None when it names something else."""
    return Path(sqlite_file(uri)).absolute() if uri.startswith(SQLITE) else None


def is_server(uri: str) -> bool:
    """Say whether a tracking URI names an MLflow server, which keeps artifacts itself, and no database."""
    return uri.partition(":")[0] in _SERVERS
