"""What a tracking store has of a suite, as the ledger remembers it: which results it lacks and which it must drop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlbench.store.database import Database
from tlbench.store.ledger_tables import select_cells


class TrackingState:
    """The state of one suite in one tracking store.

    It says what was written there, not what is there now (see :mod:`tlbench.store.mlflow.presence`): what the store has
    lost is written again after :meth:`mark_deleted`, or after :meth:`forget`.

    Args:
        database: The ledger's file.
        suite: Name of the suite.
        tracking: Address of the store, without credentials.
    """

    def __init__(self, database: Database, suite: str, tracking: str) -> None:
        self.suite, self.tracking = suite, tracking
        self._database = database
        self._names = {"suite": suite, "tracking": tracking}

    def missing(self) -> dict[str, int]:
        """Return the cells of the suite whose result the store lacks, with the number of the record to write."""
        with self._database.read() as connection:
            return dict(
                connection.execute(
                    """
                    SELECT cell, number FROM suite_cells JOIN standing USING (cell)
                    WHERE suite = :suite AND NOT EXISTS (
                        SELECT 1 FROM synced WHERE suite = :suite AND tracking = :tracking
                        AND synced.cell = suite_cells.cell AND synced.number = standing.number)
                    ORDER BY number""",
                    self._names,
                )
            )

    def listed(self) -> set[str]:
        """Return the cells and trials that the suite has."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT cell FROM suite_cells WHERE suite = :suite", self._names)
            return {cell for (cell,) in rows}

    def unlisted(self) -> list[str]:
        """Return the cells that the store has though the suite no longer lists them."""
        with self._database.read() as connection:
            rows = connection.execute(
                """
                SELECT cell FROM synced WHERE suite = :suite AND tracking = :tracking AND NOT EXISTS (
                    SELECT 1 FROM suite_cells WHERE suite_cells.suite = :suite AND suite_cells.cell = synced.cell)""",
                self._names,
            )
            return [cell for (cell,) in rows]

    def written(self) -> dict[str, float]:
        """Return the suite's cells whose result was written, and when an earlier one of each was last retracted.

        Times are in seconds since the epoch, 0 where none was retracted.
        """
        with self._database.read() as connection:
            return dict(
                connection.execute(
                    """
                    SELECT cell, coalesce((
                        SELECT max(retracted) FROM records JOIN retractions USING (number)
                        WHERE records.cell = synced.cell), 0.0)
                    FROM synced JOIN standing USING (cell, number) JOIN suite_cells USING (suite, cell)
                    WHERE suite = :suite AND tracking = :tracking""",
                    self._names,
                )
            )

    def mark_written(self, numbers: Mapping[str, int]) -> None:
        """Note that the store has these records: numbers by cell."""
        rows = [(self.suite, self.tracking, cell, number) for cell, number in numbers.items()]
        with self._database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO synced VALUES (?, ?, ?, ?)", rows)

    def mark_deleted(self, cells: Iterable[str]) -> None:
        """Note that the store no longer has these cells."""
        with self._database.write() as connection:
            select_cells(connection, cells)
            connection.execute(
                "DELETE FROM synced WHERE suite = :suite AND tracking = :tracking "
                "AND cell IN (SELECT cell FROM selected)",
                self._names,
            )

    def new_tags(self) -> str | None:
        """Return the suite's tags, as JSON, where they are not those that the store has; None where they are."""
        with self._database.read() as connection:
            own = connection.execute("SELECT tags FROM suites WHERE suite = :suite", self._names).fetchone()
        return None if own is None or own[0] == self.written_tags() else str(own[0])

    def written_tags(self) -> str | None:
        """Return the tags that were written, as JSON; None where none were."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT tags FROM tagged WHERE suite = :suite AND tracking = :tracking", self._names
            ).fetchone()
        return None if row is None else str(row[0])

    def mark_tagged(self, tags: str) -> None:
        """Note that the store has these tags, as JSON."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO tagged VALUES (:suite, :tracking, :tags)", {**self._names, "tags": tags}
            )

    def forget_tags(self) -> None:
        """Note that the store may not have the suite's tags."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM tagged WHERE suite = :suite AND tracking = :tracking", self._names)

    def forget(self) -> None:
        """Note that the store may have nothing of the suite."""
        with self._database.write() as connection:
            for table in ("synced", "tagged"):
                connection.execute(f"DELETE FROM {table} WHERE suite = :suite AND tracking = :tracking", self._names)
