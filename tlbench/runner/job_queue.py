"""Which job a free slot takes next: artifacts before what needs them, cells that share artifacts together."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from tlbench.core.cell import Cell
from tlbench.worker.artifact_jobs import ArtifactJob, Job, required_artifacts

_Group = tuple[str, str]


class Queue:
    """Pending jobs: the artifacts to make, and cells in groups with the same backbone and dataset.

    Whatever can be made is made first; a cell waits until all it needs is there. A slot stays with its group while
    it has cells, then takes the group that the fewest slots work on, so that weights and features are loaded once a
    slot and no slot idles while another has work waiting.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._groups: OrderedDict[_Group, deque[Cell]] = OrderedDict()
        self._makes: deque[ArtifactJob] = deque()
        self._waiting: dict[str, list[Job]] = {}  # by what they need, as long as that is neither made nor given up
        self._lacks: dict[str, int] = {}  # how many things a waiting job needs
        self._group_of: dict[int, _Group] = {}
        self._size = 0
        for cell in cells:
            self._size += 1
            self._enter(cell)

    def __len__(self) -> int:
        """Number of cells not handed out, those that wait included."""
        return self._size

    def take(self, slot: int) -> Job | None:
        """Hand the next job to a slot; None when there is nothing it could start now."""
        while self._makes:
            make = self._makes.popleft()
            if any(job.id in self._lacks for job in self._waiting[make.id]):
                return make
        group = self._group_of.get(slot)
        if group is None or not self._groups.get(group):
            open_groups = [name for name, cells in self._groups.items() if cells]
            if not open_groups:
                return None
            group = min(open_groups, key=self._crowd)
            self._group_of[slot] = group
        self._size -= 1
        return self._groups[group].popleft()

    def put_back(self, job: Job) -> None:
        """Take a job back that was handed out and not done; it comes first again."""
        if not isinstance(job, Cell):
            self._makes.appendleft(job)
            return
        self._size += 1
        self._groups.setdefault(_group(job), deque()).appendleft(job)

    def unblock(self, make: ArtifactJob) -> None:
        """Let start what only waited for an artifact that is there now."""
        for job in self._waiting.pop(make.id, []):
            if job.id not in self._lacks:
                continue
            self._lacks[job.id] -= 1
            if not self._lacks[job.id]:
                del self._lacks[job.id]
                self._add(job)

    def drop(self, make: ArtifactJob) -> list[Cell]:
        """Give up the cells that need an artifact which cannot be made, be it through others, and return them."""
        cells: list[Cell] = []
        for job in self._waiting.pop(make.id, []):
            if self._lacks.pop(job.id, None) is None:
                continue
            if isinstance(job, Cell):
                cells.append(job)
                self._size -= 1
            else:
                cells += self.drop(job)
        return cells

    def _enter(self, job: Job) -> None:
        """Take a job up, and what it needs with it."""
        wanted = required_artifacts(job)
        if not wanted:
            self._add(job)
            return
        self._lacks[job.id] = len(wanted)
        for make in wanted:
            name = make.id
            if name not in self._waiting:
                self._waiting[name] = []
                self._enter(make)
            self._waiting[name].append(job)

    def _crowd(self, group: _Group) -> tuple[int, int]:
        """Rank groups: first those nobody works on, in order; then the least crowded, the largest first."""
        crowd = sum(name == group for name in self._group_of.values())
        return crowd, -len(self._groups[group]) if crowd else 0

    def _add(self, job: Job) -> None:
        if isinstance(job, Cell):
            self._groups.setdefault(_group(job), deque()).append(job)
        else:
            self._makes.append(job)


def _group(cell: Cell) -> _Group:
    return cell.backbone.key, cell.dataset.info.fingerprint
