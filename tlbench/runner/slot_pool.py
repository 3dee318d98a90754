"""The pool of slots: hands jobs to Ray actors, reports what became of them, and replaces actors that die."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.core.resources import Resources
from tlbench.runner.artifact_fetch import RemoteCopy
from tlbench.runner.death import Death, WorkerDeathError
from tlbench.runner.session import RaySession, first_line
from tlbench.runner.slot_actor import Slot
from tlbench.runner.worker_location import WorkerLocation
from tlbench.worker.artifact_jobs import Job

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

MAX_JOBS = 5000  # after which a slot's process is replaced
MAX_FAILED_STARTS = 3  # slots in a row whose process may die before it is ready


@dataclass(frozen=True)
class Finished:
    """A job has ended, and its process goes on.

    Attributes:
        slot: Number of the slot.
        job: The job.
        location: Of the slot.
        seconds: How long the job ran.
        record: Of a cell; None for an artifact job, and where an exception ended the cell outside its own code.
        error: That exception, or the one with which an artifact job failed.
    """

    slot: int
    job: Job
    location: WorkerLocation
    seconds: float
    record: Record | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Died:
    """The process that ran a job has ended: that of a slot, or one of the group that a slot has started.

    Attributes:
        slot: Number of the slot; if its own process has ended, another slot with a new number takes its place.
        death: Of the job.
        queued: Jobs that the slot had not started and does not run any more, in order.
    """

    slot: int
    death: Death
    queued: list[Job]


@dataclass
class _SlotState:
    """What the driver knows of a slot.

    Attributes:
        actor: Its process.
        located: Is resolved when the process is ready.
        location: Then known; None before.
        jobs: The job that runs and those queued behind it, each with what it will return.
        began: When the first of them began, by the monotonic clock.
        finished: Number of jobs that have ended in the process.
        stop_reason: Why it was killed on purpose; empty if it was not.
        is_ending: Whether it was killed after the end of a job, and gets no other.
    """

    actor: ActorHandle[Slot]
    located: ObjectRef[WorkerLocation]
    location: WorkerLocation | None = None
    jobs: deque[tuple[Job, ObjectRef[Any]]] = field(default_factory=deque)
    began: float = 0.0
    finished: int = 0
    stop_reason: str = ""
    is_ending: bool = False


class Slots:
    """A pool of slots on the cluster of a session; use it as a context manager.

    Lifecycle: entering starts the session, unless it has been, and asks Ray for the slots; leaving kills them, and
    leaves the session as it is. A slot is free once its process is ready. A slot that dies, is stopped, or has run many
    jobs is replaced by another one with a new number.

    Invariant: every job that was submitted comes back in one event: as the job of a :class:`Finished`, or as the job or
    one of the queued jobs of a :class:`Died`.

    Args:
        session: The cluster.
        artifact_root: The artifact folder of machines that do not name their own.
        resources: What one cell needs.
        most: Number of slots beyond which more would stand idle.
    """

    def __init__(
        self, session: RaySession, artifact_root: Path, resources: Resources, *, most: int | None = None
    ) -> None:
        self.resources = resources
        self._session = session
        self._artifact_root = artifact_root
        self._most = most
        self._slots: dict[int, _SlotState] = {}
        self._next_number = 0
        self._failed_starts = 0

    def __enter__(self) -> Slots:
        self._session.start()
        fits = self._session.capacity(self.resources)
        for _ in range(fits if self._most is None else max(1, min(fits, self._most))):
            self._add_slot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for slot in self._slots.values():
            ray.kill(slot.actor)
        self._slots.clear()

    def __len__(self) -> int:
        return len(self._slots)

    def free(self, depth: int) -> list[int]:
        """Return the slots that are ready and have fewer than ``depth`` jobs, those with the fewest first.

        A slot that is not ready may never be, as when its machine is gone: no job must wait for it.
        """
        open_slots = [
            (len(slot.jobs), number)
            for number, slot in self._slots.items()
            if slot.location is not None and not slot.is_ending and len(slot.jobs) < depth
        ]
        return [number for _, number in sorted(open_slots)]

    def location(self, number: int) -> WorkerLocation:
        """Return where a slot that is ready runs."""
        location = self._slots[number].location
        assert location is not None, "a slot has a location once it is ready"
        return location

    def running(self) -> list[tuple[int, Job, float]]:
        """Return slot, job and seconds so far of every job that has begun."""
        now = time.monotonic()
        return [(number, slot.jobs[0][0], now - slot.began) for number, slot in self._slots.items() if slot.jobs]

    def submit(self, number: int, job: Job, attempt: int = 1, copies: Sequence[RemoteCopy] = ()) -> None:
        """Give a job to a slot that is ready; it starts when the slot's earlier jobs have ended.

        Args:
            number: Of the slot.
            job: The job.
            attempt: Number of the attempt at a cell.
            copies: Where there are artifacts that the job requires and the slot's machine lacks.
        """
        slot = self._slots[number]
        if not slot.jobs:
            slot.began = time.monotonic()
        result: ObjectRef[Any]
        if isinstance(job, Cell):
            result = slot.actor.run.remote(job, attempt, copies)
        else:
            result = slot.actor.build.remote(job, copies)
        slot.jobs.append((job, result))

    def stop(self, number: int, reason: str) -> None:
        """Kill a slot because its job takes too long; the next :meth:`events` reports the death with this reason."""
        import ray

        slot = self._slots[number]
        slot.stop_reason = reason
        ray.kill(slot.actor)

    def events(self, timeout: float) -> list[Finished | Died]:
        """Wait at most ``timeout`` seconds for something to happen and return all that has.

        A slot that has become ready is no event, but ends the wait.

        Raises:
            UserError: Slots cannot start here.
        """
        import ray

        running = {slot.jobs[0][1]: number for number, slot in self._slots.items() if slot.jobs}
        starting = {slot.located: number for number, slot in self._slots.items() if slot.location is None}
        awaited: list[Any] = [*running, *starting]
        done, _ = ray.wait(awaited, num_returns=1, timeout=timeout)
        if done:
            done, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
        for reference in done:
            if reference in starting:
                self._finish_start(starting[reference])
        return [self._event(running[reference]) for reference in done if reference in running]

    def _finish_start(self, number: int) -> None:
        import ray

        slot = self._slots[number]
        try:
            slot.location = ray.get(slot.located)
            self._failed_starts = 0
        except ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise UserError(
                    f"the processes that run cells cannot start: {first_line(_cause(error))}",
                    "does every machine have this Python environment, memory, and an artifact folder it may write?",
                ) from error
            self._replace(number)

    def _event(self, number: int) -> Finished | Died:
        """Return what became of the job that a slot has run."""
        import ray

        slot, location = self._slots[number], self.location(number)
        job, result = slot.jobs[0]
        seconds = time.monotonic() - slot.began
        record: Record | None = None
        failure: Exception | None = None
        try:
            record = ray.get(result)
        except ray.exceptions.RayTaskError as error:
            failure = _cause(error)
        except ray.exceptions.RayError as error:
            self._replace(number)
            death = Death(job, seconds, slot.stop_reason or first_line(error), overrun=bool(slot.stop_reason))
            return Died(number, death, [queued for queued, _ in slot.jobs][1:])
        slot.jobs.popleft()
        slot.began = time.monotonic()
        slot.finished += 1
        # One that was stopped had ended its job just before: its death is not that of the next job.
        slot.is_ending |= bool(slot.stop_reason)
        slot.stop_reason = ""
        if _device_is_broken(record):
            ray.kill(slot.actor)
            slot.is_ending = True
        if not slot.jobs and (slot.is_ending or slot.finished >= MAX_JOBS):
            self._replace(number)
        if isinstance(failure, WorkerDeathError):  # of a process of its group: the slot itself goes on
            return Died(number, Death(job, seconds, str(failure)), [])
        return Finished(number, job, location, seconds, record, failure)

    def _replace(self, number: int) -> None:
        import ray

        ray.kill(self._slots.pop(number).actor)
        self._add_slot()

    def _add_slot(self) -> None:
        import ray

        in_group = self.resources.workers > 1  # whose processes hold the resources
        actor: Any = (
            ray.remote(Slot)
            .options(
                num_cpus=0 if in_group else self.resources.cpus,
                num_gpus=0 if in_group else self.resources.gpus,
                max_restarts=0,
            )
            .remote(str(self._artifact_root), self.resources)
        )
        self._slots[self._next_number] = _SlotState(actor, located=actor.location.remote())
        self._next_number += 1


def _cause(error: Exception) -> Exception:
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def _device_is_broken(record: Record | None) -> bool:
    """Say whether a cell ended in an error of the device, after which its process fails at everything."""
    return record is not None and record.error is not None and "CUDA error" in record.error["message"]
