"""What searching gained on the test: each tuned cell against the cell with the default settings and the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from types import MappingProxyType

import pandas as pd

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell, by_shots, grouped, scores
from tlbench.report.example_scores import unit_scores
from tlbench.report.sections._search_rows import SearchRow
from tlbench.report.table import Table, TablePart
from tlbench.stats.contrasts import paired_contrast
from tlbench.stats.intervals import Estimate
from tlbench.stats.pairwise import pair_error
from tlbench.store.mlflow.record_artifact import RecordDetails

TITLE = "Gain over the default"
NOTE = (
    "Test accuracy of the tuned cells less that of the cells with the default settings and the same seed, so with the "
    "same labels and test examples; the interval contains the spread over seeds, and with it that of the searches, and "
    "the error of the finite test set. Where a search kept the default, both are one cell and the difference is nought."
)


@dataclass(frozen=True)
class SearchGain:
    """What the searches of a setting gained on the test. Scores are fractions of 1.

    Attributes:
        seeds: Number of seeds of which both cells are finished.
        kept: Number of those whose search kept the default.
        default: Mean test accuracy with the default settings.
        tuned: Mean test accuracy of the tuned cells.
        gain: The mean paired difference.
        trainings: Number of trainings that all searches of the setting came to.
        cost: Device-seconds of all of them.
    """

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    seeds: int
    kept: int
    default: float
    tuned: float
    gain: Estimate
    trainings: int
    cost: float


def search_gains(
    cells: Iterable[ComparableCell],
    untuned: pd.DataFrame,
    searches: Iterable[SearchRow],
    details: Mapping[str, RecordDetails] = MappingProxyType({}),
) -> tuple[SearchGain, ...]:
    """Return one row a searched setting of which some seed has both cells, by protocol, dataset, shots and backbone.

    Args:
        cells: From :func:`tlbench.report.comparable_cells.comparable_cells`.
        untuned: :attr:`tlbench.report.results.Results.untuned`.
        searches: From :func:`tlbench.report.sections._search_rows.search_rows`.
        details: Answers by cell, of tuned and untuned cells, as far as they were read.
    """
    if untuned.empty:
        return ()
    names = ("of", "of_method", "cell", "test/accuracy")
    known = {
        (str(of), str(method)): (str(cell), float(accuracy))
        for of, method, cell, accuracy in zip(*(untuned[name] for name in names), strict=True)
        if pd.notna(accuracy)
    }
    spent: dict[tuple[str, ...], list[SearchRow]] = {}
    for row in searches:
        spent.setdefault((row.protocol, row.dataset, row.shots, row.backbone, row.method), []).append(row)
    paired = [cell for cell in cells if (cell.cell, cell.method_label) in known]

    def place(cell: ComparableCell) -> tuple[str, str, str, str, str]:
        return cell.protocol, cell.dataset, cell.shots, cell.backbone, cell.method

    found = []
    for (protocol, dataset, shots, backbone, method), group in grouped(paired, place).items():
        defaults = [
            replace(cell, cell=of, accuracy=score)
            for cell in group
            for of, score in [known[cell.cell, cell.method_label]]
        ]
        rows = spent.get((protocol, dataset, shots, backbone, method), [])
        found.append(
            SearchGain(
                protocol=protocol,
                method=method,
                backbone=backbone,
                dataset=dataset,
                shots=shots,
                seeds=len(group),
                kept=sum(cell.cell == default.cell for cell, default in zip(group, defaults, strict=True)),
                default=fmean(cell.accuracy for cell in defaults),
                tuned=fmean(cell.accuracy for cell in group),
                gain=_difference(group, defaults, details),
                trainings=sum(row.trials * row.folds for row in rows),
                cost=sum(row.cost for row in rows),
            )
        )
    return tuple(sorted(found, key=lambda row: (row.protocol, row.dataset, by_shots(row.shots), row.backbone)))


def _difference(
    ours: Sequence[ComparableCell], theirs: Sequence[ComparableCell], details: Mapping[str, RecordDetails]
) -> Estimate:
    """Return the mean difference of cells of the same seeds."""
    error = pair_error(scores(ours), scores(theirs), unit_scores(ours, details), unit_scores(theirs, details))
    contrast = paired_contrast(scores(ours), scores(theirs), tests=error)
    assert contrast is not None, "each cell has its partner"
    return contrast.estimate


def gain_table(gains: Sequence[SearchGain]) -> Table:
    """Return one row a searched setting.

    Args:
        gains: From :func:`search_gains`.
    """
    head = ("protocol", "dataset", "shots", "backbone", "method", "gain (points)", "95% interval", "default %",
            "tuned %", "seeds", "default kept", "trainings", "device time")  # fmt: skip
    body = [
        (
            each.protocol,
            each.dataset,
            each.shots,
            each.backbone,
            each.method,
            text.points(each.gain.mean),
            text.points_interval(each.gain),
            text.percent(each.default),
            text.percent(each.tuned),
            str(each.seeds),
            str(each.kept),
            str(each.trainings),
            text.seconds(each.cost),
        )
        for each in gains
    ]
    return Table(
        name="search_gain",
        records=[
            {
                "protocol": each.protocol,
                "dataset": each.dataset,
                "shots": each.shots,
                "backbone": each.backbone,
                "method": each.method,
                "gain": each.gain.mean,
                "gain_low": each.gain.low,
                "gain_high": each.gain.high,
                "default": each.default,
                "tuned": each.tuned,
                "seeds": each.seeds,
                "default_kept": each.kept,
                "trainings": each.trainings,
                "cost_seconds": each.cost,
            }
            for each in gains
        ],
        columns=("protocol", "dataset", "shots", "backbone", "method", "gain"),
        parts=[TablePart(TITLE, head, body, (0, 1, 3, 4), NOTE)] if gains else [],
    )
