"""Decides about leases, deaths, overruns and the budget, for cells and trials alike."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, Record
from tlbench.core.resources import Resources
from tlbench.planning.budget import Budget
from tlbench.runner.death import Death, WorkerDeathError
from tlbench.store.ledger import Ledger

LEASE_SECONDS = 60.0
MAX_DEATHS = 3  # processes that may die in a job before it counts as failed


class Attempts:
    """The attempts at the cells, trials and artifact jobs of one stage of a run.

    Lifecycle of a cell or trial: :meth:`lease`; then, when it has ended, either :meth:`charge` with the cost of its
    record, or :meth:`after_death`, which says whether it is attempted again, or :meth:`failure`, which makes the record
    of one that has none; at last :meth:`commit`. Artifact jobs have no lease and no record, but deaths.

    Invariants: a record counts only for the attempt that holds the lease. The budget is charged every second once: the
    cost of a record from a worker by :meth:`charge`, all other seconds by the method that gets them.

    Args:
        ledger: Where records are committed.
        owner: Name of this driver, for leases.
        budget: What the suite may use, and has used before.
        resources: What one job holds while it runs.
        on_record: Called with each record that was committed.
    """

    def __init__(
        self,
        ledger: Ledger,
        owner: str,
        budget: Budget,
        resources: Resources,
        on_record: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.committed = 0
        self._ledger = ledger
        self._owner = owner
        self._budget = budget
        self._resources = resources
        self._on_record = on_record
        self._numbers: dict[str, int] = {}  # of the attempt whose lease this driver has, by cell
        self._deaths: Counter[str] = Counter()
        self._seconds_lost: defaultdict[str, float] = defaultdict(float)  # in processes that died
        self._renewed = time.monotonic()

    @property
    def budget_is_used_up(self) -> bool:
        """Whether nothing more may start."""
        return self._budget.reached

    @property
    def minutes_per_job(self) -> float | None:
        """Minutes that a cell or trial may take; None where there is no limit."""
        return self._budget.limits.cell_minutes

    def lease(self, cells: Iterable[Cell]) -> set[str]:
        """Lease cells; return the ids of those that nobody has done and no other driver is at."""
        leases = self._ledger.lease([cell.id for cell in cells], self._owner, LEASE_SECONDS)
        self._numbers.update(leases)
        return set(leases)

    def number(self, cell: Cell) -> int:
        """Return the number of the present attempt at a cell that is leased."""
        return self._numbers[cell.id]

    def renew(self) -> None:
        """Renew all leases where it is time to; called again and again while anything runs."""
        if time.monotonic() - self._renewed > LEASE_SECONDS / 4:
            self._ledger.renew(self._owner, LEASE_SECONDS)
            self._renewed = time.monotonic()

    def release(self, cell: Cell) -> None:
        """Give the lease of a cell back, for this or another driver to take anew."""
        self._ledger.release([cell.id], self._owner)

    def finished_elsewhere(self, cells: Iterable[Cell]) -> set[str]:
        """Return the ids of the cells that have a result."""
        return set(self._ledger.done(cell.id for cell in cells))

    def overrun(self, seconds: float) -> str | None:
        """Return why a cell that has run for so long is ended; None where it may go on."""
        return self._budget.overrun(seconds)

    def charge(self, cost: Cost | float) -> None:
        """Charge the budget with the cost of a record, or with the seconds of a job that leaves none."""
        self._budget.add(cost if isinstance(cost, Cost) else self._cost(cost))

    def after_death(self, death: Death) -> WorkerDeathError | None:
        """Charge what a dead process has used, and decide about its job.

        Returns:
            None where the job is to be attempted again, else the error with which it fails.
        """
        self.charge(death.seconds)
        self._deaths[death.job.id] += 1
        self._seconds_lost[death.job.id] += death.seconds
        if death.overrun:  # it would take as long again
            return WorkerDeathError(death.reason)
        deaths = self._deaths[death.job.id]
        if deaths < MAX_DEATHS:
            return None
        return WorkerDeathError(f"its worker died {deaths} times" + (f": {death.reason}" if death.reason else ""))

    def failure(self, cell: Cell, error: Exception, seconds: float = 0.0) -> Record:
        """Return the record of a cell that ended outside its own code, and charge the seconds.

        Args:
            cell: The cell.
            error: Why it failed.
            seconds: What it used, beside the processes that died in it; the record has the sum.
        """
        self.charge(seconds)
        return Record(
            cell=cell.describe(),
            status="failed",
            cost=self._cost(seconds + self._seconds_lost[cell.id]),
            error={"type": type(error).__name__, "message": str(error), "traceback": ""},
        )

    def commit(self, records: Sequence[Record]) -> None:
        """Commit records of leased cells; those whose lease was lost meanwhile change nothing."""
        if not records:
            return
        counts = self._ledger.commit_many([(record, self._numbers[record.id]) for record in records])
        for record, counted in zip(records, counts, strict=True):
            if counted:
                self.committed += 1
                self._on_record(record)

    def _cost(self, seconds: float) -> Cost:
        """Return the cost of a job that held its resources for so long and measured nothing."""
        resources = self._resources
        return Cost(
            seconds=seconds,
            train_seconds=0,
            cpu_seconds=0,
            peak_memory=0,
            gpus=resources.gpus * resources.workers,
            cpus=resources.cpus * resources.workers,
            started=time.time() - seconds,
        )
