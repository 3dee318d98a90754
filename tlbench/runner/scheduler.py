"""The driver's loop over cells: hands jobs to slots, commits what comes back, and goes on after deaths."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tlbench.core.cell import Cell
from tlbench.core.record import Record
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.attempts import Attempts
from tlbench.runner.job_queue import JobQueue
from tlbench.runner.slot_pool import Died, Finished, Slots
from tlbench.worker.artifact_jobs import ArtifactJob, Job

SHORT_SECONDS = 2.0  # of a cell, below which the time between two jobs of a slot counts
_WAIT = 0.5


class Scheduler:
    """Runs a list of cells, and the artifact jobs that they need, to the end.

    Lifecycle: made for one list; :meth:`run` returns when every cell is committed, here or by another driver, or when
    the budget or the user ends the run and what was under way has ended.

    Args:
        cells: What to run, in order of preference.
        slots: Where to run it.
        attempts: Decides about leases, deaths, overruns and the budget.
        gate: Knows which artifacts there are.
        stopping: Says whether the user wants to stop.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        slots: Slots,
        attempts: Attempts,
        gate: ArtifactGate,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.over_budget = False
        self._slots = slots
        self._attempts = attempts
        self._gate = gate
        self._stopping = stopping
        self._queue = JobQueue(cells, gate)
        self._leased_elsewhere: list[Cell] = []
        self._cells_are_short = False

    def run(self) -> None:
        """Run until nothing is left to do here, or nothing more may start and nothing is under way."""
        while True:
            self._attempts.renew()
            halted = self._stopping() or self._is_over_budget()
            if not halted:
                self._fill_slots()
            if self._slots.running() or (not halted and len(self._queue) and not self._slots.free(1)):
                self._handle(self._slots.events(_WAIT))
                self._stop_overruns()
            elif halted or not self._take_over():
                return

    def _fill_slots(self) -> None:
        # A second job in a slot hides the driver's latency; behind a long one, or towards the end, it only waits.
        depth = 2 if self._cells_are_short and len(self._queue) > 4 * len(self._slots) else 1
        handed: list[tuple[int, Job]] = []
        for slot in self._slots.free(depth):
            job = self._queue.take(slot)
            if job is None:
                break
            handed.append((slot, job))
        leased = self._attempts.lease([job for _, job in handed if isinstance(job, Cell)])
        for slot, job in handed:
            if isinstance(job, Cell) and job.id not in leased:
                self._leased_elsewhere.append(job)
                continue
            number = self._attempts.number(job) if isinstance(job, Cell) else 1
            self._slots.submit(slot, job, number, self._gate.copies_for(job, self._slots.location(slot)))

    def _handle(self, events: list[Finished | Died]) -> None:
        records: list[Record] = []
        for event in events:
            if isinstance(event, Died):
                records += self._after_death(event)
            elif not isinstance(event.job, Cell):
                records += self._after_artifact(event.job, event)
            elif event.record is not None:
                records.append(event.record)
                if event.record.status == "done":
                    self._gate.passed(event.job, event.location)
                self._attempts.charge(event.record.cost)
                self._cells_are_short = event.record.cost.seconds < SHORT_SECONDS
            else:
                error = event.error or RuntimeError("no result")
                records.append(self._attempts.failure(event.job, error, event.seconds))
        self._attempts.commit(records)

    def _after_artifact(self, job: ArtifactJob, event: Finished) -> list[Record]:
        """Let the cells pass that need an artifact; return the failed records of cells that cannot have it."""
        self._attempts.charge(event.seconds)
        if event.error is not None:
            return self._fail_dependents(job, RuntimeError(f"{job.label} failed: {event.error}"))
        self._queue.built(job, event.location)
        return []

    def _after_death(self, event: Died) -> list[Record]:
        """Put jobs back that may be attempted again; return the failed records of those that may not."""
        for job in reversed(event.queued):
            self._put_back(job)
        job = event.death.job
        error = self._attempts.after_death(event.death)
        if error is None:
            self._put_back(job)
            return []
        return [self._attempts.failure(job, error)] if isinstance(job, Cell) else self._fail_dependents(job, error)

    def _fail_dependents(self, job: ArtifactJob, error: Exception) -> list[Record]:
        cells = self._queue.failed(job)
        leased = self._attempts.lease(cells)
        return [self._attempts.failure(cell, error) for cell in cells if cell.id in leased]

    def _put_back(self, job: Job) -> None:
        if isinstance(job, Cell):
            self._attempts.release(job)
        self._queue.put_back(job)

    def _is_over_budget(self) -> bool:
        self.over_budget = self._attempts.budget_is_used_up and len(self._queue) > 0
        return self.over_budget

    def _stop_overruns(self) -> None:
        for slot, job, seconds in self._slots.running():
            if isinstance(job, Cell) and (reason := self._attempts.overrun(seconds)) is not None:
                self._slots.stop(slot, reason)

    def _take_over(self) -> bool:
        """Wait for cells that another driver has leased; take those that it gave up. Say whether anything is left."""
        if not self._leased_elsewhere:
            return len(self._queue) > 0
        finished = self._attempts.finished_elsewhere(self._leased_elsewhere)
        left = [cell for cell in self._leased_elsewhere if cell.id not in finished]
        for cell in left:
            self._queue.put_back(cell)
        if left:
            time.sleep(_WAIT)
        self._leased_elsewhere = []
        return len(self._queue) > 0
