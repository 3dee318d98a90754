"""What cells will cost, and where each figure comes from: measured on n cells, or a stated prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tlbench.core.cell import Cell
from tlbench.core.info import Shots
from tlbench.core.resources import Resources

PRIOR_SECONDS = 60.0


class Timing(NamedTuple):
    """How long one cell took, by the names that a record stores."""

    method: str
    backbone: str
    dataset: str
    protocol: str
    shots: Shots
    seconds: float


class Estimate(NamedTuple):
    """Seconds of one cell and where they come from; ``cells`` is the number measured, 0 for the prior."""

    seconds: float
    source: str
    cells: int


@dataclass
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        self.total += seconds
        self.count += 1


@dataclass(frozen=True)
class Total:
    """The cost of a list of cells.

    Attributes:
        cells: How many.
        seconds: Sum of the cells' wall seconds.
        cpu_hours: CPUs held, times hours.
        gpu_hours: GPUs held, times hours.
        sources: Number of cells by the source of their estimate.
        guessed: Number of cells whose method was never measured.
    """

    cells: int
    seconds: float
    cpu_hours: float
    gpu_hours: float
    sources: Mapping[str, int] = field(default_factory=dict)
    guessed: int = 0


class Timings:
    """Means of measured durations, from the closest kin of a cell to the farthest.

    The mean, not the median: what is asked for is a sum over many cells.

    Args:
        measured: Durations of finished cells.
        prior: Seconds to assume for a cell whose method was never measured.
    """

    def __init__(self, measured: Iterable[Timing] = (), prior: float = PRIOR_SECONDS) -> None:
        self._prior = prior
        self._means: dict[tuple[object, ...], _Mean] = {}
        for timing in measured:
            for _, key in _kin(timing.method, timing.backbone, timing.dataset, timing.protocol, timing.shots):
                self._means.setdefault(key, _Mean()).add(timing.seconds)

    def estimate(self, cell: Cell) -> Estimate:
        """Return the mean over the closest kin that was measured, else the prior."""
        return self._estimate(
            cell.method.name, cell.backbone.info.label, cell.dataset.info.name, cell.protocol.name, cell.shots
        )

    def total(self, cells: Iterable[Cell], resources: Resources) -> Total:
        """Sum up the estimates of cells that each hold these resources."""
        seconds, count, guessed = 0.0, 0, 0
        sources: dict[str, int] = {}
        cache: dict[tuple[object, ...], Estimate] = {}
        for cell in cells:
            key = (cell.method.name, cell.backbone.key, cell.dataset.info.name, cell.protocol.name, cell.shots)
            if key not in cache:
                cache[key] = self.estimate(cell)
            seconds += cache[key].seconds
            count += 1
            guessed += cache[key].cells == 0
            sources[cache[key].source] = sources.get(cache[key].source, 0) + 1
        hours = seconds * resources.workers / 3600
        return Total(count, seconds, hours * resources.cpus, hours * resources.gpus, sources, guessed)

    def _estimate(self, method: str, backbone: str, dataset: str, protocol: str, shots: Shots) -> Estimate:
        for kin, key in _kin(method, backbone, dataset, protocol, shots):
            if (mean := self._means.get(key)) is not None:
                cells = f"{mean.count} cell" + "s" * (mean.count != 1)
                return Estimate(mean.total / mean.count, f"measured on {cells} of the same {kin}", mean.count)
        return Estimate(self._prior, f"prior: {self._prior:g} s a cell, the method was never measured", 0)


def _kin(
    method: str, backbone: str, dataset: str, protocol: str, shots: Shots
) -> tuple[tuple[str, tuple[object, ...]], ...]:
    return (
        ("setting", (protocol, method, backbone, dataset, shots)),
        ("method and backbone", (protocol, method, backbone)),
        ("method", (method,)),
    )
