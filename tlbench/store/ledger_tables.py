"""The tables of the ledger's file, and how a connection selects the cells that a statement is about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from tlbench.store.database import Database

VERSION = 1
"""Of the tables; a file with another version is refused."""

# `attempts`, `records`, `bodies` and `retractions` only ever grow. `standing` (the results that were not retracted) and
# `leases` are the present that follows from them. Bodies lie apart so that a scan of the facts does not page through
# them.
SCHEMA = """
CREATE TABLE identity (id TEXT NOT NULL);
CREATE TABLE attempts (
    cell TEXT NOT NULL, attempt INTEGER NOT NULL, owner TEXT NOT NULL, leased REAL NOT NULL,
    PRIMARY KEY (cell, attempt)) WITHOUT ROWID;
CREATE TABLE leases (
    cell TEXT PRIMARY KEY, attempt INTEGER NOT NULL, owner TEXT NOT NULL, deadline REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, cell TEXT NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL,
    committed REAL NOT NULL, method TEXT, backbone TEXT, dataset TEXT, protocol TEXT, shots, seconds REAL,
    method_source TEXT, protocol_source TEXT);
CREATE INDEX records_by_cell ON records (cell);
CREATE TABLE bodies (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE retractions (number INTEGER PRIMARY KEY, retracted REAL NOT NULL);
CREATE TABLE standing (cell TEXT PRIMARY KEY, number INTEGER NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE suites (suite TEXT PRIMARY KEY, tags TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE suite_cells (suite TEXT NOT NULL, cell TEXT NOT NULL, PRIMARY KEY (suite, cell)) WITHOUT ROWID;
CREATE TABLE synced (
    suite TEXT NOT NULL, tracking TEXT NOT NULL, cell TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (suite, tracking, cell)) WITHOUT ROWID;
CREATE TABLE tagged (
    suite TEXT NOT NULL, tracking TEXT NOT NULL, tags TEXT NOT NULL, PRIMARY KEY (suite, tracking)) WITHOUT ROWID
"""

_SUITE_FILES = """
CREATE TABLE IF NOT EXISTS suite_files (suite TEXT PRIMARY KEY, file TEXT NOT NULL, data TEXT NOT NULL) WITHOUT ROWID
"""


def open_ledger_file(path: Path) -> Database:
    """Open the ledger's file, a new one where there is none, with the temporary table ``selected`` of cell ids.

    Raises:
        UserError: The file is damaged, of another version, or something else.
    """
    database = Database(path, SCHEMA, VERSION)
    with database.read() as connection:
        connection.execute(_SUITE_FILES)  # a ledger of an earlier tlbench has it not
        connection.execute("CREATE TEMP TABLE selected (cell TEXT PRIMARY KEY) WITHOUT ROWID")
    return database


def select_cells(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Let the table ``selected`` of a connection hold these cells and no others."""
    connection.execute("DELETE FROM selected")
    connection.executemany("INSERT OR IGNORE INTO selected VALUES (?)", ((cell,) for cell in ids))
