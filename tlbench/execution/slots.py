"""The pool of slots: hands jobs to Ray actors, tells what became of them, and replaces actors that die."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import BackboneChoice
from tlbench.core.suite import Resources
from tlbench.execution.cluster import capacity, connect, first_line
from tlbench.execution.queue import Job, MakeWeights
from tlbench.execution.slot import Place, Slot

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from tlbench.core.record import Record

RECYCLE = 5000  # cells after which a slot's process is replaced
_START_SECONDS = 180.0


@dataclass(frozen=True)
class Finished:
    """A job came to its end: a cell with its record, weights with None, or an exception instead of either."""

    slot: int
    job: Job
    value: Record | None
    error: Exception | None = None


@dataclass(frozen=True)
class Died:
    """A slot's process is gone: ``running`` was under way, ``waiting`` had not been started.

    ``stopped`` tells a slot that :meth:`Slots.stop` ended from one that died of itself.
    """

    slot: int
    running: Job
    waiting: list[Job]
    reason: str
    stopped: bool


@dataclass
class _Seat:
    actor: ActorHandle
    place: Place | None = None
    ready: Any = None
    jobs: deque[tuple[Job, Any]] = field(default_factory=deque)
    began: float = 0.0
    finished: int = 0
    doomed: str = ""


class Slots:
    """A pool of slots on a local or remote Ray cluster; use it as a context manager.

    Args:
        root: The artifact folder.
        resources: What one cell needs.
        address: A running cluster's address, or None for one of this machine's own.
        facts: Provenance for every record.
        most: Number of slots beyond which more would stand idle.
    """

    def __init__(
        self,
        root: Path,
        resources: Resources,
        *,
        address: str | None = None,
        facts: dict[str, Any] | None = None,
        most: int | None = None,
    ) -> None:
        self._root = root
        self._resources = resources
        self._address = address
        self._facts = facts or {}
        self._most = most
        self._seats: dict[int, _Seat] = {}
        self._holders: dict[str, set[str]] = {}
        self._next = 0

    def __enter__(self) -> Slots:
        connect(self._root.parent, self._address)
        import ray  # not before: Ray reads its environment when it is imported

        try:
            fits = capacity(self._resources)
            for _ in range(fits if self._most is None else max(1, min(fits, self._most))):
                self._seat()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for seat in self._seats.values():
            ray.kill(seat.actor)
        ray.shutdown()

    def __len__(self) -> int:
        return len(self._seats)

    def free(self, depth: int) -> list[int]:
        """Return the slots with fewer than ``depth`` jobs, the emptiest first."""
        open_seats = [(len(seat.jobs), number) for number, seat in self._seats.items() if len(seat.jobs) < depth]
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
        if isinstance(job, MakeWeights):
            reference = seat.actor.make_weights.remote(job.choice)
        else:
            if job.backbone.pretrain is not None:
                self._bring_weights(seat, job.backbone)
            reference = seat.actor.run.remote(job, attempt)
        seat.jobs.append((job, reference))

    def stop(self, slot: int, reason: str) -> None:
        """Kill a slot; the next :meth:`events` reports it dead, with this reason, and a fresh one takes its place."""
        import ray

        seat = self._seats[slot]
        seat.doomed = reason
        ray.kill(seat.actor)

    def events(self, timeout: float) -> list[Finished | Died]:
        """Wait at most ``timeout`` seconds for something to happen and return all that has."""
        import ray

        heads = {seat.jobs[0][1]: number for number, seat in self._seats.items() if seat.jobs}
        if not heads:
            return []
        done, _ = ray.wait(list(heads), num_returns=1, timeout=timeout)
        if done:
            done, _ = ray.wait(list(heads), num_returns=len(heads), timeout=0)
        return [event for reference in done for event in self._collect(heads[reference])]

    def _collect(self, number: int) -> list[Finished | Died]:
        import ray

        seat = self._seats[number]
        job, reference = seat.jobs[0]
        try:
            value = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            event: Finished | Died = Finished(number, job, None, _cause(error))
        except ray.exceptions.RayError as error:
            return [self._bury(number, error)]
        else:
            event = Finished(number, job, value)
        seat.jobs.popleft()
        seat.began = time.monotonic()
        seat.finished += 1
        if isinstance(job, MakeWeights) and isinstance(event, Finished) and event.error is None:
            self._holders.setdefault(job.choice.key, set()).add(self._place(seat).store)
        if seat.finished >= RECYCLE and not seat.jobs:
            self._replace(number)
        return [event]

    def _bury(self, number: int, error: Exception) -> Died:
        seat = self._seats[number]
        jobs = [job for job, _ in seat.jobs]
        self._replace(number)
        return Died(number, jobs[0], jobs[1:], seat.doomed or first_line(error), stopped=bool(seat.doomed))

    def _replace(self, number: int) -> None:
        import ray

        ray.kill(self._seats.pop(number).actor)
        self._seat()

    def _seat(self) -> None:
        import ray

        together = self._resources.workers > 1
        options = {
            "num_cpus": 0 if together else self._resources.cpus,
            "num_gpus": 0 if together else self._resources.gpus,
            "max_restarts": 0,
        }
        actor = ray.remote(**options)(Slot).remote(str(self._root), self._resources, self._facts)
        self._seats[self._next] = _Seat(actor, ready=actor.place.remote())
        self._next += 1

    def _place(self, seat: _Seat) -> Place:
        import ray

        if seat.place is None:
            place: Place = ray.get(seat.ready, timeout=_START_SECONDS)
            seat.place = place
        return seat.place

    def _bring_weights(self, seat: _Seat, choice: BackboneChoice) -> None:
        holders = self._holders.get(choice.key, set())
        here = self._place(seat).store
        if not holders or here in holders:
            return
        giver = next(s for s in self._seats.values() if s.place is not None and s.place.store in holders)
        seat.actor.adopt_weights.remote(choice, giver.actor.export_weights.remote(choice))
        self._holders[choice.key].add(here)


def _cause(error: Exception) -> Exception:
    return error.cause if isinstance(getattr(error, "cause", None), Exception) else error
