"""Finds test examples of a suite that resemble what its cells were trained or pre-trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tlbench.audit.changed_labels import scored_rows
from tlbench.audit.results import Overlap, Pair
from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TRAIN, VAL
from tlbench.data.duplicates import CopyIndex, copy_index, find_copies
from tlbench.data.mixed_images import MixedImages, thumbnails
from tlbench.worker.pretrain import corpus
from tlbench.worker.worker_resources import TextResources

Rows = NDArray[np.int64]

_PAIRS = 5  # that are shown of a comparison
_THUMBNAIL = 64  # pixels of a side of images of several sizes, as they are compared
_LETTERS = 120  # that are shown of a text


@dataclass(frozen=True)
class _Examples:
    """Some rows of a dataset.

    Attributes:
        label: Dataset and part, in words.
        choice: The dataset.
        rows: The rows.
    """

    label: str
    choice: DatasetChoice
    rows: Rows

    @property
    def key(self) -> tuple[str, bytes]:
        """What two sets of the same examples have in common."""
        return self.choice.info.fingerprint, self.rows.tobytes()


@dataclass
class OverlapSearch:
    """Searches training examples for copies of test examples; prepares each dataset once.

    Args:
        resources: Opens datasets.
    """

    resources: TextResources
    _prepared: dict[str, CopyIndex] = field(default_factory=dict)

    def overlaps(self, cells: Iterable[Cell]) -> Iterator[Overlap]:
        """Yield each comparison of what cells are scored on with what they were trained or pre-trained on."""
        seen = set()
        for cell in _distinct_tasks(cells):
            test = self._test_examples(cell)
            for trained in self._training_examples(cell):
                key = (*test.key, *trained.key)
                if key not in seen and len(test.rows) and len(trained.rows):
                    seen.add(key)
                    yield self._compare(test, trained)

    def _test_examples(self, cell: Cell) -> _Examples:
        part = "test classes" if cell.protocol.episodic else "test part"
        rows = scored_rows(cell, self.resources.dataset(cell.dataset))
        return _Examples(f"{cell.dataset.info.name}: {part}", cell.dataset, rows)

    def _training_examples(self, cell: Cell) -> Iterator[_Examples]:
        dataset, name = self.resources.dataset(cell.dataset), cell.dataset.info.name
        if cell.protocol.episodic:
            splits = deal_classes(cell.dataset.info)
            for part, label in (("train", "training classes"), ("val", "validation classes")):
                rows = dataset.rows_of_classes(splits[part])
                yield _Examples(f"{name}: {label}", cell.dataset, rows)
        else:
            for parts, label in (((TRAIN, VAL), "training part"), ((SOURCE, SOURCE_VAL), "source domain")):
                yield _Examples(f"{name}: {label}", cell.dataset, np.flatnonzero(np.isin(dataset.part, parts)))
        for backbone in _backbones(cell):
            for run in backbone.runs:
                rows = corpus(self.resources.dataset(run.dataset), run.labels).rows
                yield _Examples(f"{run.dataset.info.name}: pre-training corpus", run.dataset, rows)

    def _compare(self, test: _Examples, trained: _Examples) -> Overlap:
        ours, theirs = self._prepare(test.choice), self._prepare(trained.choice)
        copies = find_copies(ours, test.rows, theirs, trained.rows)
        sample = trained.rows[np.linspace(0, len(trained.rows) - 1, min(len(test.rows), len(trained.rows))).astype(int)]
        classes, others = self._classes(test.choice, test.rows), self._classes(trained.choice, copies.row)
        return Overlap(
            test=test.label,
            tests=len(test.rows),
            against=trained.label,
            trained=len(trained.rows),
            exact=int(copies.exact.sum()),
            near=int((copies.exists & ~copies.exact).sum()),
            same_class=int((copies.exists & (classes == others)).sum()),
            expected=float(find_copies(theirs, sample, theirs, trained.rows).exists.mean()),
            measure=ours.measure,
            pairs=tuple(
                Pair(
                    test_row=int(test.rows[at]),
                    row=int(copies.row[at]),
                    distance=round(float(copies.distance[at]), 6),
                    test_class=str(classes[at]),
                    row_class=str(others[at]),
                    test_text=self._text(test.choice, int(test.rows[at])),
                    text=self._text(trained.choice, int(copies.row[at])),
                )
                for at in np.argsort(copies.distance, kind="stable")[: min(_PAIRS, int(copies.exists.sum()))]
            ),
        )

    def _prepare(self, choice: DatasetChoice) -> CopyIndex:
        key = choice.info.fingerprint
        if key not in self._prepared:
            x = self.resources.dataset(choice).x
            self._prepared[key] = copy_index(thumbnails(x, _THUMBNAIL) if isinstance(x, MixedImages) else x)
        return self._prepared[key]

    def _classes(self, choice: DatasetChoice, rows: Rows) -> NDArray[np.object_]:
        return np.array(choice.info.classes, object)[self.resources.dataset(choice).y[rows]]

    def _text(self, choice: DatasetChoice, row: int) -> str:
        x = self.resources.dataset(choice).x
        return "" if isinstance(x, np.ndarray | MixedImages) else str(x[row])[:_LETTERS]


def unknown_corpora(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the labels of backbones whose weights were trained elsewhere, on data that cannot be compared."""
    labels: dict[str, None] = {}
    for backbone in {backbone.key: backbone for cell in cells for backbone in _backbones(cell)}.values():
        first = backbone.runs[0].start if backbone.runs else backbone
        if first.info.weights not in ("random", "none"):
            labels[backbone.info.label] = None
    return tuple(labels)


def _distinct_tasks(cells: Iterable[Cell]) -> list[Cell]:
    """Return one cell for each dataset, way of testing, and backbones."""
    tasks: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        backbones = tuple(backbone.key for backbone in _backbones(cell))
        tasks.setdefault((cell.dataset.info.fingerprint, cell.protocol.episodic, backbones), cell)
    return list(tasks.values())


def _backbones(cell: Cell) -> list[BackboneChoice]:
    return [cell.backbone, *([] if cell.method.teacher is None else [cell.method.teacher.backbone])]
