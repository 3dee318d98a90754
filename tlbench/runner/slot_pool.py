"""The pool of slots: hands jobs to Ray actors, tells what became of them, and replaces actors that die."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.core.resources import Resources
from tlbench.runner.session import RaySession, first_line
from tlbench.runner.slot_actor import Place, Slot, read_artifact
from tlbench.worker.artifact_jobs import ArtifactJob, Job, required_artifacts

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from tlbench.core.record import Record

RECYCLE = 5000  # cells after which a slot's process is replaced
FALSE_STARTS = 3  # slots in a row that may die before they stand


@dataclass(frozen=True)
class Finished:
    """A job came to its end: a cell with its record, an artifact with None, or an exception instead of either.

    ``seconds`` is how long it was under way.
    """

    slot: int
    job: Job
    value: Record | None
    error: Exception | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Died:
    """A slot's process is gone: ``running`` was under way for ``seconds``, ``waiting`` had not been started.

    ``stopped`` tells a slot that :meth:`Slots.stop` ended from one that died of itself.
    """

    slot: int
    running: Job
    waiting: list[Job]
    reason: str
    stopped: bool
    seconds: float = 0.0


@dataclass
class _Seat:
    actor: ActorHandle
    ready: Any
    place: Place | None = None
    jobs: deque[tuple[Job, Any]] = field(default_factory=deque)
    began: float = 0.0
    finished: int = 0
    doomed: str = ""


class Slots:
    """A pool of slots on the cluster of a session; use it as a context manager.

    Lifecycle: entering starts the session, unless it has been, and asks Ray for the slots; leaving kills them, and
    leaves the session as it is.

    Args:
        session: The cluster.
        root: The artifact folder.
        resources: What one cell needs.
        facts: Provenance for every record.
        most: Number of slots beyond which more would stand idle.
    """

    def __init__(
        self,
        session: RaySession,
        root: Path,
        resources: Resources,
        *,
        facts: dict[str, Any] | None = None,
        most: int | None = None,
    ) -> None:
        self.resources = resources
        self._session = session
        self._root = root
        self._facts = facts or {}
        self._most = most
        self._seats: dict[int, _Seat] = {}
        self._holders: dict[str, set[str]] = {}
        self._next = 0
        self._false_starts = 0

    def __enter__(self) -> Slots:
        self._session.start()
        fits = self._session.capacity(self.resources)
        for _ in range(fits if self._most is None else max(1, min(fits, self._most))):
            self._seat()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for seat in self._seats.values():
            ray.kill(seat.actor)
        self._seats.clear()

    def __len__(self) -> int:
        return len(self._seats)

    def free(self, depth: int) -> list[int]:
        """Return the slots that stand and have fewer than ``depth`` jobs, the emptiest first.

        A slot that does not stand may never do so, as when its machine is gone: no job must wait for it.
        """
        standing = ((number, seat) for number, seat in self._seats.items() if seat.place is not None)
        open_seats = [(len(seat.jobs), number) for number, seat in standing if len(seat.jobs) < depth]
        return [number for _, number in sorted(open_seats)]

    def running(self) -> list[tuple[int, Job, float]]:
        """Return (slot, job, seconds under way) of every job that has begun."""
        now = time.monotonic()
        return [(number, seat.jobs[0][0], now - seat.began) for number, seat in self._seats.items() if seat.jobs]

    def pids(self) -> list[int]:
        """Return the process ids of the slots whose place is known."""
        return [seat.place.pid for seat in self._seats.values() if seat.place is not None]

    def submit(self, slot: int, job: Job, attempt: int = 1) -> None:
        """Give a job to a slot; it starts when the slot's earlier jobs are done."""
        seat = self._seats[slot]
        if not seat.jobs:
            seat.began = time.monotonic()
        for make in required_artifacts(job) if self.resources.workers == 1 else ():
            self._bring(seat, make)
        reference = seat.actor.run.remote(job, attempt) if isinstance(job, Cell) else seat.actor.make.remote(job)
        seat.jobs.append((job, reference))

    def stop(self, slot: int, reason: str) -> None:
        """Kill a slot; the next :meth:`events` reports it dead, with this reason, and a fresh one takes its place."""
        import ray

        seat = self._seats[slot]
        seat.doomed = reason
        ray.kill(seat.actor)

    def events(self, timeout: float) -> list[Finished | Died]:
        """Wait at most ``timeout`` seconds for something to happen and return all that has.

        A slot that has come to stand is no event, but ends the wait.

        Raises:
            UserError: Slots cannot start here.
        """
        import ray

        heads = {seat.jobs[0][1]: number for number, seat in self._seats.items() if seat.jobs}
        starts = {seat.ready: number for number, seat in self._seats.items() if seat.place is None}
        awaited = [*heads, *starts]
        done, _ = ray.wait(awaited, num_returns=1, timeout=timeout)
        if done:
            done, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
        for reference in done:
            if reference in starts:
                self._welcome(starts[reference])
        return [event for reference in done if reference in heads for event in self._collect(heads[reference])]

    def _welcome(self, number: int) -> None:
        import ray

        seat = self._seats[number]
        try:
            seat.place = ray.get(seat.ready)
            self._false_starts = 0
        except ray.exceptions.RayError as error:
            self._false_starts += 1
            if self._false_starts >= FALSE_STARTS:
                raise UserError(
                    f"the processes that run cells cannot start: {first_line(_cause(error))}",
                    "does every machine have this Python environment, memory, and an artifact folder it may write?",
                ) from error
            self._replace(number)

    def _collect(self, number: int) -> list[Finished | Died]:
        import ray

        seat = self._seats[number]
        job, reference = seat.jobs[0]
        seconds = time.monotonic() - seat.began
        try:
            event = Finished(number, job, ray.get(reference), seconds=seconds)
        except ray.exceptions.RayTaskError as error:
            event = Finished(number, job, None, _cause(error), seconds)
        except ray.exceptions.RayError as error:
            return [self._bury(number, error, seconds)]
        seat.jobs.popleft()
        seat.began = time.monotonic()
        seat.finished += 1
        if not isinstance(job, Cell) and event.error is None and seat.place is not None:
            self._holders.setdefault(job.id, set()).add(seat.place.store)
        if _poisoned(event.value):
            ray.kill(seat.actor)
            if not seat.jobs:
                self._replace(number)
            return [event]
        if seat.doomed:  # it was done just before it could be stopped; the end that follows is not the next job's
            seat.doomed = ""
            seat.place = None
        if not seat.jobs and (seat.finished >= RECYCLE or seat.place is None):
            self._replace(number)
        return [event]

    def _bury(self, number: int, error: Exception, seconds: float) -> Died:
        seat = self._seats[number]
        jobs = [job for job, _ in seat.jobs]
        self._replace(number)
        reason = seat.doomed or first_line(error)
        return Died(number, jobs[0], jobs[1:], reason, stopped=bool(seat.doomed), seconds=seconds)

    def _replace(self, number: int) -> None:
        import ray

        ray.kill(self._seats.pop(number).actor)
        self._seat()

    def _seat(self) -> None:
        import ray

        together = self.resources.workers > 1
        options = {
            "num_cpus": 0 if together else self.resources.cpus,
            "num_gpus": 0 if together else self.resources.gpus,
            "max_restarts": 0,
        }
        actor = ray.remote(**options)(Slot).remote(str(self._root), self.resources, self._facts)
        self._seats[self._next] = _Seat(actor, ready=actor.place.remote())
        self._next += 1

    def _bring(self, seat: _Seat, make: ArtifactJob) -> None:
        """Send an artifact ahead of a job to a slot that shares no artifact folder with those that have it.

        A process of its own reads it, as the slots there are busy. Should it fail, the job makes it anew.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        holders = self._holders.setdefault(make.id, set())
        here = seat.place.store if seat.place is not None else ""
        if here in holders:
            return
        givers = [other.place for other in self._seats.values() if other.place is not None]
        giver = next((place for place in givers if place.store in holders), None)
        if giver is not None:
            read = ray.remote(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(giver.node, soft=False))
            seat.actor.adopt.remote(make, read(read_artifact).remote(str(self._root), make))
        holders.add(here)


def _cause(error: Exception) -> Exception:
    return error.cause if isinstance(getattr(error, "cause", None), Exception) else error


def _poisoned(record: Record | None) -> bool:
    """Say whether a cell ended in an error of the device, after which its process fails at everything."""
    return record is not None and record.error is not None and "CUDA error" in record.error["message"]
