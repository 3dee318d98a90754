"""Scores of single test examples, by which intervals contain the error of the finite test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from tlbench.report.comparable_cells import ComparableCell
from tlbench.stats.finite_test_set import UnitScores
from tlbench.store.mlflow.record_artifact import RecordDetails


def unit_scores(cells: Iterable[ComparableCell], details: Mapping[str, RecordDetails]) -> UnitScores:
    """Return the scores of the independent units of each cell's test set, by (dataset, shots), by seed.

    Args:
        cells: Of one row.
        details: What the records hold, by cell; cells without stored answers are left out.
    """
    found: dict[tuple[str, str], dict[int, NDArray[np.float32]]] = {}
    for cell in cells:
        record = details.get(cell.cell)
        units = None if record is None else units_of(record)
        if units is not None:
            found.setdefault((cell.dataset, cell.shots), {})[cell.seed] = units
    return found


def units_of(record: RecordDetails) -> NDArray[np.float32] | None:
    """Return the scores of examples (n,); of episodes, where classes return, those of test classes (classes,).

    The score of an example is that by the metric that the suite chose, else 1 for a right answer. That of a class is
    its number of right answers, scaled so that the mean over classes is the accuracy.
    """
    if record.packed_scores:
        return record.example_scores
    correct, classes = record.correct, record.classes
    if correct is None:
        return None
    if classes is not None:
        sums = np.bincount(classes, weights=correct)
        return (sums * (len(sums) / correct.size)).astype(np.float32)
    return correct.astype(np.float32) if record.group == 1 else None
