"""What the cells of a row took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median

from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.shared_trainings import SharedTraining


@dataclass(frozen=True)
class Cost:
    """What a row's cells took: medians over them, None where nothing was stored.

    Attributes:
        seconds: Wall seconds of a cell, as measured: they depend on what else the machine did.
        trainable: Trained parameters.
        stored_bytes: Bytes to store per task beside a shared backbone.
        peak_memory: Peak bytes.
        share: Trained parameters as a fraction of all.
        device_seconds: What a cell is billed (:class:`tlbench.core.record.Cost`): CPU-seconds, or GPU-seconds. None
            also where some cells ran on GPUs and others did not.
        device: What they are seconds of, ``CPU`` or ``GPU``; empty where they are None.
        embedding_seconds: The part of them that is for embedding what the cell read of frozen features.
        shared: Trainings that cells of the row share among themselves and with others; on no cell's bill.
    """

    seconds: float | None
    trainable: float | None
    stored_bytes: float | None
    peak_memory: float | None
    share: float | None = None
    device_seconds: float | None = None
    device: str = ""
    embedding_seconds: float | None = None
    shared: tuple[SharedTraining, ...] = ()

    @property
    def shared_seconds(self) -> float | None:
        """Device-seconds of all shared trainings together; None where one was not measured, or devices differ."""
        known = [each.device_seconds for each in self.shared if each.device_seconds is not None]
        same = len({each.device for each in self.shared}) == 1
        return sum(known) if same and len(known) == len(self.shared) else None

    @property
    def shared_device(self) -> str:
        """What :attr:`shared_seconds` are seconds of; empty where they are None."""
        return "" if self.shared_seconds is None else self.shared[0].device

    @property
    def shared_cells(self) -> tuple[int, int] | None:
        """The fewest and the most cells that share one of them; None where nothing is shared."""
        cells = [each.cells for each in self.shared]
        return (min(cells), max(cells)) if cells else None


def cost(group: Sequence[ComparableCell]) -> Cost:
    """Return what the cells of one row took."""
    billed = [cell for cell in group if cell.device_seconds is not None]
    devices = {"GPU" if cell.gpus else "CPU" for cell in billed}
    told = billed if len(devices) == 1 else []
    return Cost(
        seconds=_median(cell.seconds for cell in group),
        trainable=_median(cell.trainable for cell in group),
        stored_bytes=_median(cell.stored_bytes for cell in group),
        peak_memory=_median(cell.peak_memory for cell in group),
        share=_median(
            cell.trainable / cell.total if cell.total and cell.trainable is not None else None for cell in group
        ),
        device_seconds=_median(cell.device_seconds for cell in told),
        device=min(devices) if told else "",
        embedding_seconds=_median(cell.embedding_seconds for cell in told),
        shared=tuple(dict.fromkeys(each for cell in group for each in cell.shared)),
    )


def prices(costs: Sequence[Cost]) -> list[tuple[float, float]]:
    """Return by what rows are ordered from cheap to dear: what a cell is billed, then trained parameters.

    Bills count only where all that are known are for the same kind of device, and to two digits: they are measured.
    What is not known is dearer than all.
    """
    same = len({each.device for each in costs if each.device}) == 1
    return [
        (
            inf if each.device_seconds is None or not same else float(f"{each.device_seconds:.1e}"),
            inf if each.trainable is None else each.trainable,
        )
        for each in costs
    ]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
