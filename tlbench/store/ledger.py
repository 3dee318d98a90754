"""The ledger: which cells are done, who runs which, and every result ever committed. Runs resume from it."""

from __future__ import annotations

import json
import os
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
from tlbench.core.paths import shortened
from tlbench.core.record import Record, ResultInfo
from tlbench.store.ledger_tables import open_ledger_file, select_cells
from tlbench.store.owner_locks import OwnerLocks
from tlbench.store.tracking_state import TrackingState


class Attempt(NamedTuple):
    """One try at a cell.

    Attributes:
        number: 1, 2, ...
        owner: The driver that leased the cell.
        leased_at: Seconds since the epoch.
        record: What was committed, or None.
        retracted_at: When the record was retracted, in seconds since the epoch; None where it was not.
    """

    number: int
    owner: str
    leased_at: float
    record: Record | None
    retracted_at: float | None


class SuiteFile(NamedTuple):
    """The file that has a suite's name.

    Attributes:
        path: Whole.
        data: Fingerprints of the data that its cells read.
    """

    path: Path
    data: frozenset[str]


class Ledger:
    """Results and leases of cells, in one SQLite file that several drivers on one machine may share.

    The life of a cell: it is leased by a driver, which gives it an attempt number; its record is committed under that
    number, after which it has a result and cannot be leased; the result may be retracted, after which it can. These
    hold at any moment, whatever process is killed:

    * Each cell has at most one lease and at most one result that counts.
    * A record counts only if its attempt holds the lease when it is committed. A driver that lost the lease meanwhile
      (its machine was cut off, or asleep) changes nothing by committing.
    * Nothing is overwritten or deleted: a retracted result stays readable by :meth:`attempts`.

    An instance belongs to one thread. Close it, or use it as a context manager.

    Args:
        path: The file; created when missing. Its folder must exist, on a disk of this machine.

    Raises:
        UserError: By every method, when the file is damaged, of another version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._database = open_ledger_file(self.path)
        self._owners = OwnerLocks(self.path.with_name(self.path.name + "-owners"))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give up the leases of this process's owners."""
        self._owners.release_all()
        self._database.close()

    @property
    def identity(self) -> str:
        """A random name of this file, chosen when it is first read."""
        with self._database.write() as connection:
            row = connection.execute("SELECT id FROM identity").fetchone()
            if row is None:
                row = (uuid.uuid4().hex[:16],)
                connection.execute("INSERT INTO identity VALUES (?)", row)
            return str(row[0])

    # Leases

    def lease(self, ids: Iterable[str], owner: str, seconds: float) -> dict[str, int]:
        """Lease the cells that have no result and are not leased by another living owner.

        A lease ends by :meth:`commit`, by :meth:`release`, after ``seconds`` without :meth:`renew`, or with its owner's
        process. An owner that leases a cell again gives its earlier attempt up.

        Args:
            ids: Cell ids.
            owner: Name of the driver, which no other has.
            seconds: Duration of the leases.

        Returns:
            Attempt numbers, from 1, by cell id; cells that were not leased are missing.
        """
        self._owners.acquire(owner)
        keeps_others_out = {owner: False}  # by owner; one does not keep itself out
        with self._database.write() as connection:
            select_cells(connection, ids)
            now = time.time()
            granted = {}
            for cell, holder, deadline, last in connection.execute("""
                SELECT cell, owner, deadline, (SELECT max(attempt) FROM attempts WHERE attempts.cell = selected.cell)
                FROM selected LEFT JOIN leases USING (cell)
                WHERE cell NOT IN (SELECT cell FROM standing)"""):
                if holder is not None and deadline > now:
                    if holder not in keeps_others_out:
                        keeps_others_out[holder] = self._owners.is_alive(holder)
                    if keeps_others_out[holder]:
                        continue
                granted[cell] = (last or 0) + 1
            rows = [(cell, attempt, owner) for cell, attempt in granted.items()]
            connection.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?)", ((*row, now) for row in rows))
            connection.executemany(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", ((*row, now + seconds) for row in rows)
            )
        return granted

    def renew(self, owner: str, seconds: float) -> None:
        """Let all leases of an owner end ``seconds`` from now, and not before."""
        with self._database.write() as connection:
            connection.execute("UPDATE leases SET deadline = ? WHERE owner = ?", (time.time() + seconds, owner))

    def release(self, ids: Iterable[str], owner: str) -> None:
        """End leases of an owner; what their attempts still commit does not count."""
        with self._database.write() as connection:
            select_cells(connection, ids)
            connection.execute("DELETE FROM leases WHERE owner = ? AND cell IN (SELECT cell FROM selected)", (owner,))

    # Results

    def commit(self, record: Record, attempt: int) -> bool:
        """Commit a result; see :meth:`commit_many`."""
        return self.commit_many([(record, attempt)])[0]

    def commit_many(self, results: Sequence[tuple[Record, int]]) -> list[bool]:
        """Commit results durably: all of them, or none when the process dies meanwhile.

        Args:
            results: Records with their attempt numbers.

        Returns:
            For each, whether it counts: its attempt holds the cell's lease. One that does not changes nothing.
        """
        rows = [(record, attempt, _pack(record)) for record, attempt in results]
        with self._database.write() as connection:
            return [_commit(connection, record, attempt, body) for record, attempt, body in rows]

    def forget(self, ids: Iterable[str]) -> int:
        """Retract results, so that the cells can be leased and committed anew; return how many."""
        return self._retract(ids, ("done", "failed"))

    def forget_failed(self, ids: Iterable[str]) -> int:
        """Retract the results of those cells that failed; return how many."""
        return self._retract(ids, ("failed",))

    def done(self, ids: Iterable[str] | None = None) -> dict[str, str]:
        """Return the status, ``done`` or ``failed``, of the cells that have a result; of all such cells by default."""
        with self._database.read() as connection:
            if ids is None:
                return dict(connection.execute("SELECT cell, status FROM standing"))
            select_cells(connection, ids)
            return dict(connection.execute("SELECT cell, status FROM selected JOIN standing USING (cell)"))

    def result_infos(self, ids: Iterable[str] | None = None) -> dict[str, ResultInfo]:
        """Return status and code marks of the cells that have a result; of all such cells by default."""
        query = """
            SELECT cell, standing.status, method_source, protocol_source
            FROM {} JOIN records USING (number, cell)"""
        with self._database.read() as connection:
            if ids is None:
                rows = connection.execute(query.format("standing"))
            else:
                select_cells(connection, ids)
                rows = connection.execute(query.format("selected JOIN standing USING (cell)"))
            return {cell: ResultInfo(*facts) for cell, *facts in rows}

    def durations(self) -> list[Timing]:
        """Return how long each cell took that was done and not retracted; of a trial in folds, one training of it."""
        with self._database.read() as connection:
            rows = connection.execute("""
                SELECT method, backbone, dataset, protocol, shots, seconds FROM records
                WHERE status = 'done' AND number NOT IN (SELECT number FROM retractions)""")
            return [Timing(*row) for row in rows]

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Yield the results of cells, in the order in which they were committed; of all cells by default."""
        with self._database.read() as connection:
            source = "standing"
            if ids is not None:
                select_cells(connection, ids)
                source = "selected JOIN standing USING (cell)"
            numbers = [number for (number,) in connection.execute(f"SELECT number FROM {source} ORDER BY number")]
        yield from self.numbered(numbers)

    def numbered(self, numbers: Iterable[int]) -> Iterator[Record]:
        """Yield records by their numbers (see :meth:`TrackingState.missing`), retracted or not."""
        for number in numbers:
            with self._database.read() as connection:
                (body,) = connection.execute("SELECT body FROM bodies WHERE number = ?", (number,)).fetchone()
            yield self._unpack(body)

    def record(self, id_prefix: str) -> Record:
        """Return the result of the one cell whose id has this start.

        Raises:
            UserError: No cell with a result has it, or several have.
        """
        rows = []
        if id_prefix.isascii():  # as ids are; bytes of a terminal that are no text could not even be asked for
            with self._database.read() as connection:
                rows = connection.execute(
                    "SELECT cell, number FROM standing WHERE cell >= ? AND cell < ? LIMIT 3",
                    (id_prefix, id_prefix + "\U0010ffff"),
                ).fetchall()
        if len(rows) == 1:
            return next(self.numbered([rows[0][1]]))
        if not rows:
            shown = shortened(id_prefix)
            hint = "`tlbench status SUITE --cells` lists the cells"
            raise UserError(f"{self.path}: no result of a cell {shown!r}", hint)
        several = ", ".join(cell for cell, _ in rows)
        raise UserError(f"{self.path}: several cells start with {id_prefix!r}: {several}", "give more of the id")

    def attempts(self, cell: str) -> list[Attempt]:
        """Return all attempts at a cell, those with retracted results included."""
        with self._database.read() as connection:
            rows = connection.execute(
                """
                SELECT attempts.attempt, owner, leased, body, retracted
                FROM attempts LEFT JOIN records USING (cell, attempt)
                LEFT JOIN bodies USING (number) LEFT JOIN retractions USING (number)
                WHERE attempts.cell = ? ORDER BY attempts.attempt""",
                (cell,),
            ).fetchall()
        return [
            Attempt(number, owner, leased_at, self._unpack(body) if body else None, retracted_at)
            for number, owner, leased_at, body, retracted_at in rows
        ]

    def retractions(self, cell: str) -> dict[str, float]:
        """Return when a cell's retracted results were retracted, in seconds since the epoch, by digest."""
        ended = [each for each in self.attempts(cell) if each.record and each.retracted_at]
        ended.sort(key=lambda each: each.retracted_at or 0.0)
        return {each.record.digest: each.retracted_at for each in ended if each.record and each.retracted_at}

    # Suites

    def claim(self, suite: str, ids: Iterable[str], tags: Mapping[str, str]) -> None:
        """Note which cells a suite has, these and no others, and the tags of its experiment in MLflow."""
        with self._database.write() as connection:
            select_cells(connection, ids)
            connection.execute("INSERT OR REPLACE INTO suites VALUES (?, ?)", (suite, canonical(dict(tags))))
            connection.execute(
                "DELETE FROM suite_cells WHERE suite = ? AND cell NOT IN (SELECT cell FROM selected)", (suite,)
            )
            connection.execute("INSERT OR IGNORE INTO suite_cells SELECT ?, cell FROM selected", (suite,))

    def suite_file(self, suite: str) -> SuiteFile | None:
        """Return the file that a suite was last claimed from, None where that is not known."""
        with self._database.read() as connection:
            row = connection.execute("SELECT file, data FROM suite_files WHERE suite = ?", (suite,)).fetchone()
        if row is None:
            return None
        file = os.path.normpath(self.path.parent.resolve() / os.fsdecode(row[0]))
        return SuiteFile(Path(file), frozenset(json.loads(row[1])))

    def note_suite_file(self, suite: str, file: SuiteFile) -> None:
        """Note the file that has a suite's name; by its way from the ledger, so that both may be moved together."""
        way = os.fsencode(os.path.relpath(file.path, self.path.parent.resolve()))
        with self._database.write() as connection:
            row = (suite, way, canonical(sorted(file.data)))
            connection.execute("INSERT OR REPLACE INTO suite_files VALUES (?, ?, ?)", row)

    def suites(self) -> dict[str, str]:
        """Return the tags of every suite that was claimed, as JSON, by name."""
        with self._database.read() as connection:
            return dict(connection.execute("SELECT suite, tags FROM suites ORDER BY suite"))

    def suites_of(self, cell: str) -> list[str]:
        """Return the names of the suites that have a cell."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT suite FROM suite_cells WHERE cell = ? ORDER BY suite", (cell,))
            return [suite for (suite,) in rows]

    def tracking_state(self, suite: str, tracking: str) -> TrackingState:
        """Return what a tracking store has of a suite.

        Args:
            suite: Name.
            tracking: Address of the store, without credentials.
        """
        return TrackingState(self._database, suite, tracking)

    def _retract(self, ids: Iterable[str], statuses: tuple[str, ...]) -> int:
        chosen = f"cell IN (SELECT cell FROM selected) AND status IN ({', '.join('?' * len(statuses))})"
        with self._database.write() as connection:
            select_cells(connection, ids)
            connection.execute(
                f"INSERT INTO retractions SELECT number, ? FROM standing WHERE {chosen}", (time.time(), *statuses)
            )
            return connection.execute(f"DELETE FROM standing WHERE {chosen}", statuses).rowcount

    def _unpack(self, body: bytes) -> Record:
        try:
            return Record.model_validate_json(zlib.decompress(body))
        except (zlib.error, ValueError) as error:
            raise UserError(
                f"{self.path}: a record cannot be read: {error}", "was it written by this tlbench?"
            ) from error


def _commit(connection: sqlite3.Connection, record: Record, attempt: int, body: bytes) -> bool:
    """Commit a record if its attempt holds the cell's lease; say whether it does."""
    cell = record.cell
    ours = connection.execute("DELETE FROM leases WHERE cell = ? AND attempt = ?", (record.id, attempt))
    if not ours.rowcount:
        return False
    facts = [cell.method, cell.backbone_label, cell.dataset, cell.protocol, cell.shots]
    hashes = [str(record.provenance.get(key, "")) for key in ("method_source", "protocol_source")]
    number = connection.execute(
        f"INSERT INTO records VALUES (NULL{', ?' * 12})",
        (record.id, attempt, record.status, time.time(), *facts, _seconds_of_training(record), *hashes),
    ).lastrowid
    connection.execute("INSERT INTO bodies VALUES (?, ?)", (number, body))
    connection.execute("INSERT INTO standing VALUES (?, ?, ?)", (record.id, number, record.status))
    return True


def _seconds_of_training(record: Record) -> float:
    return record.cost.seconds / (1 if record.cell.trial is None else record.cell.trial.folds)


def _pack(record: Record) -> bytes:
    return zlib.compress(record.model_dump_json().encode(), 1)
