"""What a tracking store has of a suite, as the ledger remembers it: which results it lacks and which it must drop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlbench.store.database import Database
from tlbench.store.ledger_tables import select_cells


class TrackingState:
    """The state of one suite in one tracking store.

    It says what was written there, not what is there now: where the store lost its content, :meth:`forget` lets all of
    it be written again.

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
            written = connection.execute(
                "SELECT tags FROM tagged WHERE suite = :suite AND tracking = :tracking", self._names
            ).fetchone()
        return None if own is None or own == written else str(own[0])

    def mark_tagged(self, tags: str) -> None:
        """Note that the store has these tags, as JSON."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO tagged VALUES (:suite, :tracking, :tags)", {**self._names, "tags": tags}
            )

    def forget(self) -> None:
        """Note that the store may have nothing of the suite."""
        with self._database.write() as connection:
            for table in ("synced", "tagged"):
                connection.execute(f"DELETE FROM {table} WHERE suite = :suite AND tracking = :tracking", self._names)
