"""The ledger: which cells are done, who runs which, and every result ever committed. Runs resume from it."""

from __future__ import annotations

import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tlbench.core.cost import Timing
from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical
from tlbench.core.record import Known, Record
from tlbench.store.database import Database
from tlbench.store.leases import Owners

VERSION = 1

# Attempts, records, bodies and retractions only ever grow. `standing` and `leases` are the present that follows from
# them. Bodies lie apart so that a scan of the facts does not page through them.
_SCHEMA = """
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


class Attempt(NamedTuple):
    """One try of a cell.

    Attributes:
        number: 1, 2, ...
        owner: The driver that leased it.
        leased: When, seconds since the epoch.
        record: What was committed, or None.
        retracted: When the record was taken back, or None.
    """

    number: int
    owner: str
    leased: float
    record: Record | None
    retracted: float | None


class Ledger:
    """Results and leases of cells, in one SQLite file that several drivers on one machine may share.

    A cell is leased, which gives it an attempt number, and then committed, once: by its current attempt. Whoever lost
    the lease meanwhile (a machine cut off, a driver asleep) commits in vain. Nothing is ever overwritten: a result
    that is no longer wanted is retracted and stays readable.

    Args:
        path: The file; it is made when missing. Its folder must exist, on a disk of this machine.

    Raises:
        UserError: By every method, when the file is damaged, of another version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._database = Database(self.path, _SCHEMA, VERSION)
        self._owners = Owners(self.path.with_name(self.path.name + "-owners"))
        with self._database.read() as link:
            link.execute("CREATE TEMP TABLE wanted (cell TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give up the leases that are still held."""
        self._owners.close()
        self._database.close()

    @property
    def identity(self) -> str:
        """A random name of this file, given when first asked for."""
        with self._database.write() as link:
            found = link.execute("SELECT id FROM identity").fetchone()
            if found is None:
                found = (uuid.uuid4().hex[:16],)
                link.execute("INSERT INTO identity VALUES (?)", found)
            return str(found[0])

    # Leases

    def lease(self, ids: Iterable[str], owner: str, seconds: float) -> dict[str, int]:
        """Lease the cells that are neither done nor leased by another living owner.

        A lease ends by :meth:`release`, after ``seconds`` without :meth:`renew`, or with its owner's process. An
        owner that leases a cell again gives its earlier attempt up.

        Args:
            ids: Cell ids.
            owner: A name that no other driver has.
            seconds: How long to hold them.

        Returns:
            Attempt numbers, from 1, by cell id; cells that were not leased are missing.
        """
        self._owners.enter(owner)
        alive = {owner: False}  # towards itself
        with self._database.write() as link:
            self._want(ids)
            now = time.time()
            granted = {}
            for cell, holder, deadline, tries in link.execute("""
                SELECT cell, owner, deadline, (SELECT max(attempt) FROM attempts WHERE attempts.cell = wanted.cell)
                FROM wanted LEFT JOIN leases USING (cell)
                WHERE cell NOT IN (SELECT cell FROM standing)"""):
                if holder is not None and deadline > now:
                    if holder not in alive:
                        alive[holder] = self._owners.lives(holder)
                    if alive[holder]:
                        continue
                granted[cell] = (tries or 0) + 1
            link.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?)", _with(granted, owner, now))
            link.executemany("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", _with(granted, owner, now + seconds))
        return granted

    def renew(self, owner: str, seconds: float) -> None:
        """Hold all leases of an owner for ``seconds`` from now."""
        with self._database.write() as link:
            link.execute("UPDATE leases SET deadline = ? WHERE owner = ?", (time.time() + seconds, owner))

    def release(self, ids: Iterable[str], owner: str) -> None:
        """Give leases up; what their attempts still commit does not count."""
        with self._database.write() as link:
            self._want(ids)
            link.execute("DELETE FROM leases WHERE owner = ? AND cell IN (SELECT cell FROM wanted)", (owner,))

    # Results

    def commit(self, record: Record, attempt: int) -> bool:
        """Commit a result; see :meth:`commit_many`."""
        return self.commit_many([(record, attempt)])[0]

    def commit_many(self, results: Sequence[tuple[Record, int]]) -> list[bool]:
        """Commit results durably, all or none when the process dies.

        Returns:
            For each, whether it counts: its attempt holds the cell's lease. One that does not changes nothing.
        """
        rows = [(record, attempt, _packed(record)) for record, attempt in results]
        with self._database.write() as link:
            return [_commit(link, record, attempt, body) for record, attempt, body in rows]

    def forget(self, ids: Iterable[str]) -> int:
        """Take results back, so that the cells can be run and committed anew; return how many."""
        return self._retract(ids, ("done", "failed"))

    def forget_failed(self, ids: Iterable[str]) -> int:
        """Take back the results of those cells that failed; return how many."""
        return self._retract(ids, ("failed",))

    def done(self, ids: Iterable[str] | None = None) -> dict[str, str]:
        """Return the status, ``done`` or ``failed``, of the cells that have a result; of all of them by default."""
        with self._database.read() as link:
            if ids is None:
                return dict(link.execute("SELECT cell, status FROM standing"))
            self._want(ids)
            return dict(link.execute("SELECT cell, status FROM wanted JOIN standing USING (cell)"))

    def known(self, ids: Iterable[str] | None = None) -> dict[str, Known]:
        """Return status and source hashes of the cells that have a result; of all of them by default."""
        query = """
            SELECT cell, standing.status, method_source, protocol_source
            FROM {} JOIN records USING (number, cell)"""
        with self._database.read() as link:
            if ids is None:
                rows = link.execute(query.format("standing"))
            else:
                self._want(ids)
                rows = link.execute(query.format("wanted JOIN standing USING (cell)"))
            return {cell: Known(*facts) for cell, *facts in rows}

    def durations(self) -> list[Timing]:
        """Return how long each cell took that is done."""
        with self._database.read() as link:
            rows = link.execute("""
                SELECT method, backbone, dataset, protocol, shots, seconds FROM records
                WHERE status = 'done' AND number NOT IN (SELECT number FROM retractions)""")
            return [Timing(*row) for row in rows]

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Yield the results that stand, in the order in which they were committed; all of them by default."""
        with self._database.read() as link:
            source = "standing"
            if ids is not None:
                self._want(ids)
                source = "wanted JOIN standing USING (cell)"
            numbers = [number for (number,) in link.execute(f"SELECT number FROM {source} ORDER BY number")]
        yield from self.numbered(numbers)

    def numbered(self, numbers: Iterable[int]) -> Iterator[Record]:
        """Yield records by their numbers (see :meth:`unsynced`), retracted or not."""
        for number in numbers:
            with self._database.read() as link:
                (body,) = link.execute("SELECT body FROM bodies WHERE number = ?", (number,)).fetchone()
            yield self._unpacked(body)

    def record(self, id_prefix: str) -> Record:
        """Return the result of the one cell whose id starts so.

        Raises:
            UserError: No cell with a result does, or several do.
        """
        with self._database.read() as link:
            rows = link.execute(
                "SELECT cell, number FROM standing WHERE cell >= ? AND cell < ? LIMIT 3",
                (id_prefix, id_prefix + "\U0010ffff"),
            ).fetchall()
        if len(rows) == 1:
            return next(self.numbered([rows[0][1]]))
        if not rows:
            raise UserError(f"{self.path}: no result of a cell {id_prefix!r}", "`tlbench status SUITE` lists the cells")
        several = ", ".join(cell for cell, _ in rows)
        raise UserError(f"{self.path}: several cells start with {id_prefix!r}: {several}", "give more of the id")

    def attempts(self, cell: str) -> list[Attempt]:
        """Return everything that was tried on a cell, retracted results included."""
        with self._database.read() as link:
            rows = link.execute(
                """
                SELECT attempts.attempt, owner, leased, body, retracted
                FROM attempts LEFT JOIN records USING (cell, attempt)
                LEFT JOIN bodies USING (number) LEFT JOIN retractions USING (number)
                WHERE attempts.cell = ? ORDER BY attempts.attempt""",
                (cell,),
            ).fetchall()
        return [
            Attempt(number, owner, leased, self._unpacked(body) if body else None, gone)
            for number, owner, leased, body, gone in rows
        ]

    # What MLflow has of it

    def claim(self, suite: str, ids: Iterable[str], tags: Mapping[str, str]) -> None:
        """Note which cells a suite has, these and no others, and what its experiment in MLflow is to say of it."""
        with self._database.write() as link:
            self._want(ids)
            link.execute("INSERT OR REPLACE INTO suites VALUES (?, ?)", (suite, canonical(dict(tags))))
            link.execute("DELETE FROM suite_cells WHERE suite = ? AND cell NOT IN (SELECT cell FROM wanted)", (suite,))
            link.execute("INSERT OR IGNORE INTO suite_cells SELECT ?, cell FROM wanted", (suite,))

    def suites(self) -> dict[str, str]:
        """Return the tags of every suite that claimed cells, as JSON."""
        with self._database.read() as link:
            return dict(link.execute("SELECT suite, tags FROM suites ORDER BY suite"))

    def unsynced(self, suite: str, tracking: str) -> dict[str, int]:
        """Return the cells of a suite whose result a tracking store lacks, with the number of the record.

        Args:
            suite: Name.
            tracking: Address of the store, without credentials.
        """
        with self._database.read() as link:
            return dict(
                link.execute(
                    """
                    SELECT cell, number FROM suite_cells JOIN standing USING (cell)
                    WHERE suite = :suite AND NOT EXISTS (
                        SELECT 1 FROM synced WHERE suite = :suite AND tracking = :tracking
                        AND synced.cell = suite_cells.cell AND synced.number = standing.number)
                    ORDER BY number""",
                    {"suite": suite, "tracking": tracking},
                )
            )

    def disowned(self, suite: str, tracking: str) -> list[str]:
        """Return the cells that a tracking store has though the suite no longer lists them."""
        with self._database.read() as link:
            rows = link.execute(
                """
                SELECT cell FROM synced WHERE suite = :suite AND tracking = :tracking AND NOT EXISTS (
                    SELECT 1 FROM suite_cells WHERE suite_cells.suite = :suite AND suite_cells.cell = synced.cell)""",
                {"suite": suite, "tracking": tracking},
            )
            return [cell for (cell,) in rows]

    def mark_withdrawn(self, suite: str, tracking: str, cells: Iterable[str]) -> None:
        """Note that a tracking store no longer has these cells."""
        with self._database.write() as link:
            self._want(cells)
            link.execute(
                "DELETE FROM synced WHERE suite = ? AND tracking = ? AND cell IN (SELECT cell FROM wanted)",
                (suite, tracking),
            )

    def mark_synced(self, suite: str, tracking: str, numbers: Mapping[str, int]) -> None:
        """Note that a tracking store has these records, by cell."""
        rows = [(suite, tracking, cell, number) for cell, number in numbers.items()]
        with self._database.write() as link:
            link.executemany("INSERT OR REPLACE INTO synced VALUES (?, ?, ?, ?)", rows)

    def untagged(self, suite: str, tracking: str) -> bool:
        """Say whether the suite's tags have changed since a tracking store got them."""
        with self._database.read() as link:
            got = link.execute("SELECT tags FROM tagged WHERE suite = ? AND tracking = ?", (suite, tracking)).fetchone()
        return (got[0] if got else None) != self.suites().get(suite)

    def mark_tagged(self, suite: str, tracking: str, tags: str) -> None:
        """Note that a tracking store has these tags of a suite."""
        with self._database.write() as link:
            link.execute("INSERT OR REPLACE INTO tagged VALUES (?, ?, ?)", (suite, tracking, tags))

    def forget_synced(self, suite: str, tracking: str) -> None:
        """Note that a tracking store may have nothing of a suite."""
        with self._database.write() as link:
            for table in ("synced", "tagged"):
                link.execute(f"DELETE FROM {table} WHERE suite = ? AND tracking = ?", (suite, tracking))

    def _retract(self, ids: Iterable[str], statuses: tuple[str, ...]) -> int:
        chosen = f"cell IN (SELECT cell FROM wanted) AND status IN ({', '.join('?' * len(statuses))})"
        with self._database.write() as link:
            self._want(ids)
            link.execute(
                f"INSERT INTO retractions SELECT number, ? FROM standing WHERE {chosen}", (time.time(), *statuses)
            )
            return link.execute(f"DELETE FROM standing WHERE {chosen}", statuses).rowcount

    def _unpacked(self, body: bytes) -> Record:
        try:
            return Record.model_validate_json(zlib.decompress(body))
        except (zlib.error, ValueError) as error:
            raise UserError(
                f"{self.path}: a record cannot be read: {error}", "was it written by this tlbench?"
            ) from error

    def _want(self, ids: Iterable[str]) -> None:
        self._database.link.execute("DELETE FROM wanted")
        self._database.link.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((cell,) for cell in ids))


def _with(granted: Mapping[str, int], owner: str, moment: float) -> Iterator[tuple[str, int, str, float]]:
    return ((cell, attempt, owner, moment) for cell, attempt in granted.items())


def _commit(link: sqlite3.Connection, record: Record, attempt: int, body: bytes) -> bool:
    cell = record.cell
    ours = link.execute("DELETE FROM leases WHERE cell = ? AND attempt = ?", (record.id, attempt))
    if not ours.rowcount:
        return False
    facts = [cell.method, cell.backbone_label, cell.dataset, cell.protocol, cell.shots]
    hashes = [str(record.provenance.get(key, "")) for key in ("method_source", "protocol_source")]
    number = link.execute(
        f"INSERT INTO records VALUES (NULL{', ?' * 12})",
        (record.id, attempt, record.status, time.time(), *facts, record.cost.seconds, *hashes),
    ).lastrowid
    link.execute("INSERT INTO bodies VALUES (?, ?)", (number, body))
    link.execute("INSERT INTO standing VALUES (?, ?, ?)", (record.id, number, record.status))
    return True


def _packed(record: Record) -> bytes:
    return zlib.compress(record.model_dump_json().encode(), 1)
