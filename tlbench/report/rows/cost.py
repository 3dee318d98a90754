"""What the cells of a row took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tlbench.report.comparable_cells import ComparableCell


@dataclass(frozen=True)
class Cost:
    """What a row's cells took: medians over them, None where nothing was stored.

    Attributes:
        seconds: Wall seconds of a cell.
        trainable: Trained parameters.
        stored_bytes: Bytes to store per task beside a shared backbone.
        peak_memory: Peak bytes.
        share: Trained parameters as a fraction of all.
    """

    seconds: float | None
    trainable: float | None
    stored_bytes: float | None
    peak_memory: float | None
    share: float | None = None


def cost(group: Sequence[ComparableCell]) -> Cost:
    """Return what the cells of one row took."""
    return Cost(
        seconds=_median(cell.seconds for cell in group),
        trainable=_median(cell.trainable for cell in group),
        stored_bytes=_median(cell.stored_bytes for cell in group),
        peak_memory=_median(cell.peak_memory for cell in group),
        share=_median(
            cell.trainable / cell.total if cell.total and cell.trainable is not None else None for cell in group
        ),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
