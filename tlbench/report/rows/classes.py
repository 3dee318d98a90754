"""Scores of single classes: how often test examples of each class were answered with which, over the seeds of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlbench.report.comparable_cells import ComparableCell, by_shots, grouped
from tlbench.report.rows.settings import SettingRow
from tlbench.store.mlflow.record_artifact import RecordDetails


@dataclass(frozen=True)
class ClassScores:
    """The best row of a dataset, class by class.

    Attributes:
        row: The row, at the largest number of shots.
        classes: Names of the classes.
        counts: Test examples of each class by their answer (classes, answers), summed over seeds.
    """

    row: SettingRow
    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def examples(self) -> NDArray[np.int64]:
        """Test examples of each class (classes,), summed over seeds."""
        found: NDArray[np.int64] = self.counts.sum(1)
        return found

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of each class's examples that are found (classes,); NaN where it has none."""
        return _ratio(self.counts.diagonal(), self.examples)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the answers with each class that are right (classes,); NaN where there are none."""
        return _ratio(self.counts.diagonal(), self.counts.sum(0))

    @property
    def f1(self) -> NDArray[np.float64]:
        """F1 of each class (classes,); NaN where it is neither present nor answered."""
        return _ratio(2 * self.counts.diagonal(), self.examples + self.counts.sum(0))

    @property
    def worst(self) -> list[int]:
        """The classes that have test examples, the worst recall first."""
        present = np.flatnonzero(self.examples)
        order = np.lexsort((present, self.recall[present]))
        found: list[int] = present[order].tolist()
        return found

    @property
    def confusions(self) -> list[tuple[int, int]]:
        """Pairs of a class and another that it was taken for, the most frequent first."""
        wrong = self.counts * ~np.eye(len(self.classes), dtype=bool)
        flat = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        return [(int(pair) // len(self.classes), int(pair) % len(self.classes)) for pair in flat]


def class_scores(
    settings: Iterable[SettingRow], cells: Iterable[ComparableCell], details: Mapping[str, RecordDetails]
) -> tuple[ClassScores, ...]:
    """Return the best row of each protocol and dataset at the largest number of shots, where its answers were stored.

    Args:
        settings: One row a setting.
        cells: What they are made of.
        details: What the records hold, by cell.
    """
    of_setting = grouped(cells, lambda cell: (cell.protocol, cell.method, cell.backbone, cell.dataset, cell.shots))
    best: dict[tuple[str, str], SettingRow] = {}
    for row in settings:
        key, place = (row.protocol, row.dataset), (by_shots(row.shots), row.accuracy.mean)
        if not row.is_bound and (key not in best or place > (by_shots(best[key].shots), best[key].accuracy.mean)):
            best[key] = row
    found = []
    for _, row in sorted(best.items()):
        own = of_setting.get((row.protocol, row.method, row.backbone, row.dataset, row.shots), [])
        known = [details[cell.cell].confusion for cell in own if cell.cell in details]
        tables = [each for each in known if each is not None]
        if tables and len({each.classes for each in tables}) == 1:
            counts = np.zeros((len(tables[0].classes),) * 2, np.int64)
            for truth, answer, count in (triple for each in tables for triple in each.counts):
                counts[truth, answer] += count
            found.append(ClassScores(row, tables[0].classes, counts))
    return tuple(found)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found
