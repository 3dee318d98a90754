"""The same cell on data of which only labels differ that nothing but scoring may read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlbench.core.cell import Cell, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset
from tlbench.data.sampling import draw_shots
from tlbench.store.artifacts import Artifacts
from tlbench.worker.cache import WorkerCache

if TYPE_CHECKING:
    import torch

    from tlbench.core.config import Precision

Labels = NDArray[np.int64]
Tamper = Callable[[Cell, Dataset], Labels]

# Kinds of artifacts that no label can have changed; teachers and tokenisers are made anew.
_LENT = ("datasets", "features", "pretrained", "tokens")

_FEWEST = 4  # examples whose labels are given up together where they change the draw


class TamperedCache(WorkerCache):
    """Shared pieces of a process in which one dataset has other labels, and all else is as it was.

    Args:
        artifacts: A folder of its own, see :func:`lend`.
        device: Where to train.
        precision: What training steps are computed in.
        cell: The cell whose dataset has other labels.
        tamper: Returns them; None leaves them alone.
    """

    def __init__(
        self, artifacts: Artifacts, device: torch.device, precision: Precision, cell: Cell, tamper: Tamper | None
    ) -> None:
        super().__init__(artifacts, device, precision=precision)
        self._cell = cell
        self._tamper = tamper

    def dataset(self, choice: DatasetChoice) -> Dataset:
        """Open a dataset, with other labels if it is the cell's."""
        dataset = super().dataset(choice)
        if self._tamper is None or choice.info.fingerprint != self._cell.dataset.info.fingerprint:
            return dataset
        return replace(dataset, y=self._tamper(self._cell, dataset))


def lend(artifacts: Artifacts, folder: Path) -> Artifacts:
    """Return a new artifact folder that shares what no label can have changed with another one.

    Args:
        artifacts: The folder with decoded data, pre-trained weights and features.
        folder: Where the new one is to be.
    """
    folder.mkdir(parents=True)
    for kind in _LENT:
        (artifacts.root / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind).symlink_to(artifacts.root / kind, target_is_directory=True)
    return Artifacts(folder)


def scored_rows(cell: Cell, dataset: Dataset) -> Labels:
    """Return the rows of a dataset that a cell is scored on: its test examples, or all examples of its test classes."""
    if not cell.protocol.episodic:
        return dataset.rows(TEST)
    return np.flatnonzero(np.isin(dataset.y, deal_classes(cell.dataset.info)["test"]) & (dataset.part <= TEST))


def scramble_tests(cell: Cell, dataset: Dataset) -> Labels:
    """Return labels that are dealt anew among the rows that the cell is scored on."""
    rows = scored_rows(cell, dataset)
    labels = dataset.y.copy()
    labels[rows] = labels[_shuffled(cell, rows)]
    return labels


def relabel_beyond_budget(cell: Cell, dataset: Dataset) -> Labels:
    """Return labels that are dealt anew among the training examples beyond the cell's shots.

    The draw of the budget stays as it is: examples whose new labels would change it keep their old ones.
    """
    budget = _budget(cell, dataset, dataset.y)
    rows = np.flatnonzero(np.isin(dataset.part, (TRAIN, VAL)) & (budget == 0))
    labels = dataset.y.copy()
    todo = [_shuffled(cell, rows)]
    while todo:
        some = todo.pop()
        tried = labels.copy()
        tried[some] = np.roll(labels[some], 1)
        after = _budget(cell, dataset, tried)
        drawn = after[some] > 0
        if np.array_equal(after, budget):
            labels = tried
        elif drawn.any() and not drawn.all():
            todo.append(some[~drawn])
        elif len(some) > _FEWEST:
            todo += np.array_split(some, 2)
    return labels


def _budget(cell: Cell, dataset: Dataset, labels: Labels) -> NDArray[np.uint8]:
    """Return for each example (N,) whether its label is to fit on (1), to select by (2), or beyond the budget (0)."""
    info, pool = cell.dataset.info, dataset.rows(TRAIN)
    draw = draw_shots(labels, pool, cell.shots, cell.seed, info.fingerprint, groups=dataset.group, names=info.classes)
    found = np.zeros(len(labels), np.uint8)
    found[draw.train], found[draw.val] = 1, 2
    return found


def _shuffled(cell: Cell, rows: Labels) -> Labels:
    keys = np.random.PCG64(derive_seed("audit", cell.id)).random_raw(len(rows)) if len(rows) else rows
    return rows[np.argsort(keys, kind="stable")]
