"""The driver's loop: hands cells to slots, commits what comes back, and deals with deaths, overruns and limits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, Record
from tlbench.planning.budget import Budget
from tlbench.runner.job_queue import Queue
from tlbench.runner.slot_pool import Died, Finished, Slots
from tlbench.runner.train_group import WorkerDeathError
from tlbench.store.ledger import Ledger
from tlbench.worker.artifact_jobs import ArtifactJob, Job

LEASE_SECONDS = 60.0
MAX_DEATHS = 3
BRIEF = 2.0  # seconds of a cell below which the driver's latency counts
_WAIT = 0.5


@dataclass
class Drive:
    """One run of a list of cells to its end.

    Args:
        cells: What to run, in order of preference.
        slots: Where to run it.
        ledger: Where results are committed.
        owner: This driver, for leases.
        budget: What the suite may use, and has used before.
        on_record: Called with each record that was committed here.
        stopping: Says whether to start nothing more.
    """

    cells: Iterable[Cell]
    slots: Slots
    ledger: Ledger
    owner: str
    budget: Budget
    on_record: Callable[[Record], None] = lambda record: None
    stopping: Callable[[], bool] = lambda: False
    capped: bool = False
    committed: int = 0
    _brief: bool = False
    _queue: Queue = field(init=False)
    _attempts: dict[str, int] = field(default_factory=dict)
    _deaths: Counter[str] = field(default_factory=Counter)
    _elsewhere: list[Cell] = field(default_factory=list)
    _renewed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._queue = Queue(self.cells)

    def run(self) -> None:
        """Run until every cell is committed, here or by another driver, or until told to stop."""
        while True:
            if time.monotonic() - self._renewed > LEASE_SECONDS / 4:
                self.ledger.renew(self.owner, LEASE_SECONDS)
                self._renewed = time.monotonic()
            halted = self.stopping() or self._over_limit()
            if not halted:
                self._fill()
            if self.slots.running() or (not halted and len(self._queue) and not self.slots.free(1)):
                self._handle(self.slots.events(_WAIT))
                self._end_overruns()
            elif halted or not self._take_over():
                return

    def _fill(self) -> None:
        # A second job in a slot hides the driver's latency; behind a long one, or towards the end, it only waits.
        depth = 2 if self._brief and len(self._queue) > 4 * len(self.slots) else 1
        handed: list[tuple[int, Job]] = []
        for slot in self.slots.free(depth):
            job = self._queue.take(slot)
            if job is None:
                break
            handed.append((slot, job))
        leases = self.ledger.lease([job.id for _, job in handed if isinstance(job, Cell)], self.owner, LEASE_SECONDS)
        self._attempts.update(leases)
        for slot, job in handed:
            if isinstance(job, Cell) and job.id not in leases:
                self._elsewhere.append(job)
            else:
                self.slots.submit(slot, job, self._attempts.get(job.id, 1))

    def _handle(self, events: list[Finished | Died]) -> None:
        records: list[Record] = []
        for event in events:
            if isinstance(event, Died):
                records.extend(self._bereave(event))
            elif not isinstance(event.job, Cell):
                records.extend(self._made(event.job, event.error))
                self.budget.take(self._cost(event.seconds))
            elif event.value is not None:
                records.append(event.value)
                self._brief = event.value.cost.seconds < BRIEF
            else:
                records.append(self._failure(event.job, event.error or RuntimeError("no result"), event.seconds))
        for record, kept in zip(records, self._commit(records), strict=True):
            self.budget.take(record.cost)
            if kept:
                self.committed += 1
                self.on_record(record)

    def _commit(self, records: list[Record]) -> list[bool]:
        if not records:
            return []
        return self.ledger.commit_many([(record, self._attempts[record.id]) for record in records])

    def _made(self, job: ArtifactJob, error: Exception | None) -> list[Record]:
        if error is None:
            self._queue.unblock(job)
            return []
        return self._forsake(job, RuntimeError(f"{job.label} failed: {error}"))

    def _forsake(self, job: ArtifactJob, error: Exception) -> list[Record]:
        cells = self._queue.drop(job)
        leases = self.ledger.lease([cell.id for cell in cells], self.owner, LEASE_SECONDS)
        self._attempts.update(leases)
        return [self._failure(cell, error, 0.0) for cell in cells if cell.id in leases]

    def _bereave(self, death: Died) -> list[Record]:
        for job in reversed(death.waiting):
            self._return(job)
        job = death.running
        self._deaths[job.id] += 1
        if self._deaths[job.id] < MAX_DEATHS and not death.stopped:
            self._return(job)
            self.budget.take(self._cost(death.seconds))
            return []
        times = "" if death.stopped else f"its worker died {self._deaths[job.id]} times: "
        error = WorkerDeathError(f"{times}{death.reason}")
        if not isinstance(job, Cell):
            return self._forsake(job, error)
        return [self._failure(job, error, death.seconds)]

    def _return(self, job: Job) -> None:
        if isinstance(job, Cell):
            self.ledger.release([job.id], self.owner)
        self._queue.put_back(job)

    def _end_overruns(self) -> None:
        for slot, job, seconds in self.slots.running():
            if isinstance(job, Cell) and (reason := self.budget.overrun(seconds)) is not None:
                self.slots.stop(slot, reason)

    def _over_limit(self) -> bool:
        self.capped = self.budget.reached and len(self._queue) > 0
        return self.capped

    def _take_over(self) -> bool:
        """Wait for cells that another driver holds; take those it gave up. Say whether anything is left."""
        if not self._elsewhere:
            return len(self._queue) > 0
        settled = self.ledger.done(cell.id for cell in self._elsewhere)
        self._elsewhere = [cell for cell in self._elsewhere if cell.id not in settled]
        for cell in self._elsewhere:
            self._queue.put_back(cell)
        if self._elsewhere:
            time.sleep(_WAIT)
        self._elsewhere = []
        return len(self._queue) > 0

    def _cost(self, seconds: float) -> Cost:
        """Return what a cell that left no record has taken of its slot."""
        held = self.slots.resources
        return Cost(
            seconds=seconds,
            train_seconds=0,
            cpu_seconds=0,
            peak_memory=0,
            gpus=held.gpus * held.workers,
            cpus=held.cpus * held.workers,
            started=time.time() - seconds,
        )

    def _failure(self, cell: Cell, error: Exception, seconds: float) -> Record:
        """Return the record of a cell that ended outside its own code."""
        return Record(
            cell=cell.describe(),
            status="failed",
            cost=self._cost(seconds),
            error={"type": type(error).__name__, "message": str(error), "traceback": ""},
        )
