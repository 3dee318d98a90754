"""Which test examples of a suite resemble what its cells were trained or pre-trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlbench.audit.results import Overlap, Pair
from tlbench.audit.tampered_data import scored_rows
from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, VAL, Dataset
from tlbench.data.duplicates import Examples, copies, examples
from tlbench.suite.spec import PUBLISHERS
from tlbench.worker.pretrain import corpus

if TYPE_CHECKING:
    from tlbench.worker.cache import WorkerCache

Rows = NDArray[np.int64]

_PAIRS, _LETTERS = 5, 120


@dataclass(frozen=True)
class _Side:
    """Some rows of a dataset, and what they are to a suite."""

    what: str
    choice: DatasetChoice
    rows: Rows

    @property
    def key(self) -> tuple[str, bytes]:
        """Tells whether two are the same examples."""
        return self.choice.info.fingerprint, self.rows.tobytes()


@dataclass
class Comparing:
    """Compares test examples with others, and keeps of every dataset what that takes.

    Args:
        cache: Opens datasets.
    """

    cache: WorkerCache
    _examples: dict[str, Examples] = field(default_factory=dict)

    def overlaps(self, cells: Iterable[Cell]) -> Iterator[Overlap]:
        """Yield each comparison of what cells are scored on with what they were trained or pre-trained on."""
        seen = set()
        for cell in _one_a_task(cells):
            test = _Side(
                f"{cell.dataset.info.name}: {_tested(cell)}", cell.dataset, scored_rows(cell, self._open(cell))
            )
            for trained in self._trained(cell):
                at = (*test.key, *trained.key)
                if at not in seen and len(test.rows) and len(trained.rows):
                    seen.add(at)
                    yield self._compare(test, trained)

    def _open(self, cell: Cell) -> Dataset:
        return self.cache.dataset(cell.dataset)

    def _trained(self, cell: Cell) -> Iterator[_Side]:
        dataset, name = self._open(cell), cell.dataset.info.name
        if cell.protocol.episodic:
            splits = deal_classes(cell.dataset.info)
            for part, what in (("train", "training classes"), ("val", "validation classes")):
                rows = np.flatnonzero(np.isin(dataset.y, splits[part]) & (dataset.part <= TEST))
                yield _Side(f"{name}: {what}", cell.dataset, rows)
        else:
            for parts, what in (((TRAIN, VAL), "training part"), ((SOURCE, SOURCE_VAL), "source domain")):
                yield _Side(f"{name}: {what}", cell.dataset, np.flatnonzero(np.isin(dataset.part, parts)))
        for backbone in _backbones(cell):
            for run in backbone.runs:
                rows = corpus(self.cache.dataset(run.dataset), run.labels).rows
                yield _Side(f"{run.dataset.info.name}: pre-training corpus", run.dataset, rows)

    def _compare(self, test: _Side, trained: _Side) -> Overlap:
        ours, theirs = self._looked_into(test.choice), self._looked_into(trained.choice)
        found = copies(ours, test.rows, theirs, trained.rows)
        some = trained.rows[np.linspace(0, len(trained.rows) - 1, min(len(test.rows), len(trained.rows))).astype(int)]
        classes, others = self._classes(test.choice, test.rows), self._classes(trained.choice, found.row)
        return Overlap(
            test=test.what,
            tests=len(test.rows),
            against=trained.what,
            trained=len(trained.rows),
            exact=int(found.exact.sum()),
            near=int((found.found & ~found.exact).sum()),
            same_class=int((found.found & (classes == others)).sum()),
            expected=float(copies(theirs, some, theirs, trained.rows).found.mean()),
            measure=ours.measure,
            pairs=tuple(
                Pair(
                    test_row=int(test.rows[at]),
                    row=int(found.row[at]),
                    distance=round(float(found.distance[at]), 6),
                    test_class=str(classes[at]),
                    row_class=str(others[at]),
                    test_text=self._text(test.choice, int(test.rows[at])),
                    text=self._text(trained.choice, int(found.row[at])),
                )
                for at in np.argsort(found.distance, kind="stable")[: min(_PAIRS, int(found.found.sum()))]
            ),
        )

    def _looked_into(self, choice: DatasetChoice) -> Examples:
        key = choice.info.fingerprint
        if key not in self._examples:
            self._examples[key] = examples(self.cache.dataset(choice).x)
        return self._examples[key]

    def _classes(self, choice: DatasetChoice, rows: Rows) -> NDArray[np.object_]:
        return np.array(choice.info.classes, object)[self.cache.dataset(choice).y[rows]]

    def _text(self, choice: DatasetChoice, row: int) -> str:
        x = self.cache.dataset(choice).x
        return "" if isinstance(x, np.ndarray) else str(x[row])[:_LETTERS]


def unseen(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the labels of backbones whose weights were trained elsewhere, on data that cannot be compared."""
    kinds = (*PUBLISHERS, "file")
    found: dict[str, None] = {}
    for backbone in {backbone.key: backbone for cell in cells for backbone in _backbones(cell)}.values():
        first = backbone.runs[0].start if backbone.runs else backbone
        if first.info.weights in kinds:
            found[backbone.info.label] = None
    return tuple(found)


def _one_a_task(cells: Iterable[Cell]) -> list[Cell]:
    """Return a cell for each dataset, way of testing and backbone."""
    found: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        backbones = tuple(backbone.key for backbone in _backbones(cell))
        found.setdefault((cell.dataset.info.fingerprint, cell.protocol.episodic, backbones), cell)
    return list(found.values())


def _backbones(cell: Cell) -> list[BackboneChoice]:
    return [cell.backbone, *([] if cell.method.teacher is None else [cell.method.teacher.backbone])]


def _tested(cell: Cell) -> str:
    return "test classes" if cell.protocol.episodic else "test part"
