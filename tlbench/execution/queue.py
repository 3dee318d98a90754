"""Which job a free slot takes next: weights before the cells that need them, cells that share artifacts together."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from tlbench.core.cell import BackboneChoice, Cell


@dataclass(frozen=True)
class MakeWeights:
    """Make a pre-trained backbone's weights file."""

    choice: BackboneChoice

    @property
    def id(self) -> str:
        """Name of the job."""
        return f"weights {self.choice.info.label}"


Job = Cell | MakeWeights
_Group = tuple[str, str]


class Queue:
    """Pending jobs in groups of cells with the same backbone and dataset.

    A slot stays with its group while it has cells, then takes the group that the fewest slots work on, so that
    weights and features are loaded once a slot and no slot idles while another has work waiting.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._groups: OrderedDict[_Group, deque[Cell]] = OrderedDict()
        self._blocked: dict[str, list[Cell]] = {}
        self._weights: deque[MakeWeights] = deque()
        self._group_of: dict[int, _Group] = {}
        self._size = 0
        for cell in cells:
            self._size += 1
            choice = cell.backbone
            if choice.pretrain is None:
                self._add(cell)
                continue
            if choice.key not in self._blocked:
                self._weights.append(MakeWeights(choice))
            self._blocked.setdefault(choice.key, []).append(cell)

    def __len__(self) -> int:
        """Number of cells not handed out, blocked ones included."""
        return self._size

    def take(self, slot: int) -> Job | None:
        """Hand the next job to a slot; None when there is nothing it could start now."""
        if self._weights:
            return self._weights.popleft()
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
        if isinstance(job, MakeWeights):
            self._weights.appendleft(job)
            return
        self._size += 1
        self._groups.setdefault(_group(job), deque()).appendleft(job)

    def unblock(self, choice: BackboneChoice) -> None:
        """Let the cells of a backbone start: its weights are there."""
        for cell in self._blocked.pop(choice.key, []):
            self._add(cell)

    def drop(self, choice: BackboneChoice) -> list[Cell]:
        """Give up the cells of a backbone whose weights cannot be made, and return them."""
        cells = self._blocked.pop(choice.key, [])
        self._size -= len(cells)
        return cells

    def _crowd(self, group: _Group) -> tuple[int, int]:
        """Rank groups: first those nobody works on, in order; then the least crowded, the largest first."""
        crowd = sum(name == group for name in self._group_of.values())
        return crowd, -len(self._groups[group]) if crowd else 0

    def _add(self, cell: Cell) -> None:
        self._groups.setdefault(_group(cell), deque()).append(cell)


def _group(cell: Cell) -> _Group:
    return cell.backbone.key, cell.dataset.info.fingerprint
