"""Which job a free slot takes next: artifacts before what needs them, cells that share artifacts together."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from tlbench.core.cell import Cell
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.worker_location import WorkerLocation
from tlbench.worker.artifact_jobs import ArtifactJob, Job

_Group = tuple[str, str]


class JobQueue:
    """Pending jobs: artifact jobs, and cells in groups with the same backbone and dataset.

    An artifact job that can start comes before all cells; a cell waits until the gate lets it pass. A slot stays with
    its group while that has cells, then takes the group that the fewest slots work on, so that weights and features are
    loaded once in a slot and no slot idles while another has work waiting.

    Invariant: every cell leaves the queue once, by :meth:`take` or :meth:`failed`, unless it is put back.

    Args:
        cells: In order of preference.
        gate: Lets cells pass when their artifacts have been built.
    """

    def __init__(self, cells: Iterable[Cell], gate: ArtifactGate) -> None:
        self._gate = gate
        self._groups: OrderedDict[_Group, deque[Cell]] = OrderedDict()
        self._artifact_jobs: deque[ArtifactJob] = deque()
        self._group_of: dict[int, _Group] = {}
        self._size = 0
        for cell in cells:
            self._size += 1
            self._add(gate.admit(cell))

    def __len__(self) -> int:
        """Number of cells in the queue, those that wait for artifacts included."""
        return self._size

    def take(self, slot: int) -> Job | None:
        """Hand the next job to a slot; None where there is nothing that it could start now."""
        while self._artifact_jobs:
            job = self._artifact_jobs.popleft()
            if self._gate.is_wanted(job):
                self._gate.begin(job)
                return job
        group = self._group_of.get(slot)
        if group is None or not self._groups.get(group):
            open_groups = [name for name, cells in self._groups.items() if cells]
            if not open_groups:
                return None
            group = min(open_groups, key=self._rank)
            self._group_of[slot] = group
        self._size -= 1
        return self._groups[group].popleft()

    def put_back(self, job: Job) -> None:
        """Take back a job that was handed out and not done; it comes first again."""
        if isinstance(job, Cell):
            self._size += 1
            self._groups.setdefault(_group(job), deque()).appendleft(job)
        else:
            self._gate.abandon(job)
            self._artifact_jobs.appendleft(job)

    def built(self, job: ArtifactJob, location: WorkerLocation) -> None:
        """Let the jobs pass that have waited only for an artifact that has been built."""
        self._add(self._gate.built(job, location))

    def failed(self, job: ArtifactJob) -> list[Cell]:
        """Remove the cells that need an artifact which cannot be built, be it through other jobs, and return them."""
        cells = self._gate.failed(job)
        self._size -= len(cells)
        return cells

    def _rank(self, group: _Group) -> tuple[int, int]:
        """Rank groups: first those nobody works on, in order; then those with the fewest slots, the largest first."""
        slots = sum(name == group for name in self._group_of.values())
        return slots, -len(self._groups[group]) if slots else 0

    def _add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if isinstance(job, Cell):
                self._groups.setdefault(_group(job), deque()).append(job)
            else:
                self._artifact_jobs.append(job)


def _group(cell: Cell) -> _Group:
    return cell.backbone.key, cell.dataset.info.fingerprint
