"""Changes labels of a dataset that nothing but scoring may read, so that a fit on them must come out the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tlbench.core.cell import Cell, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.core.config import Precision
from tlbench.core.hashing import derive_seed
from tlbench.core.label_budget import extra_labels, gives_what_it_has
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset
from tlbench.data.sampling import draw_shots
from tlbench.store.artifacts import Artifacts
from tlbench.worker.cache import WorkerCache

Labels = NDArray[np.int64]
Rows = NDArray[np.int64]
# Returns other labels (N,) for a cell's dataset.
LabelChange = Callable[[Cell, Dataset], Labels]

# Kinds of artifacts that do not depend on the changed labels. Teachers and tokenisers are built anew.
_INDEPENDENT_KINDS = ("datasets", "features", "pretrained", "tokens")

_SMALLEST = 4  # a set of rows that is not split further, but keeps its labels, where changing them changes the draw


class ChangedLabelsCache(WorkerCache):
    """The cache of a worker for which one dataset has other labels, and everything else is as it was.

    Args:
        artifacts: A folder of its own, see :func:`separate_artifacts`.
        device: Where to train.
        precision: What training steps are computed in.
        cell: The cell whose dataset has other labels.
        change: Returns these labels; None leaves them as they are.
    """

    def __init__(
        self, artifacts: Artifacts, device: torch.device, precision: Precision, cell: Cell, change: LabelChange | None
    ) -> None:
        super().__init__(artifacts, device, precision=precision)
        self._cell = cell
        self._change = change

    def dataset(self, choice: DatasetChoice) -> Dataset:
        """Return a dataset, with other labels if it is the cell's."""
        dataset = super().dataset(choice)
        if self._change is None or choice.info.fingerprint != self._cell.dataset.info.fingerprint:
            return dataset
        return replace(dataset, y=self._change(self._cell, dataset))


def separate_artifacts(artifacts: Artifacts, folder: Path) -> Artifacts:
    """Return a new artifact folder that shares with another one the kinds that labels cannot have changed.

    Args:
        artifacts: The folder with decoded data, pre-trained weights, features and token ids.
        folder: Path of the new folder, which must not exist.
    """
    folder.mkdir(parents=True)
    for kind in _INDEPENDENT_KINDS:
        (artifacts.root / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind).symlink_to(artifacts.root / kind, target_is_directory=True)
    return Artifacts(folder)


def scored_rows(cell: Cell, dataset: Dataset) -> Rows:
    """Return the rows of a dataset that a cell is scored on: its test examples, or all examples of its test classes."""
    if not cell.protocol.episodic:
        return dataset.rows(TEST)
    return dataset.rows_of_classes(deal_classes(cell.dataset.info)["test"])


def permute_test_labels(cell: Cell, dataset: Dataset) -> Labels:
    """Return labels that are permuted among the rows that the cell is scored on."""
    rows = scored_rows(cell, dataset)
    labels = dataset.y.copy()
    labels[rows] = labels[_shuffled(cell, rows)]
    return labels


def permute_labels_beyond_budget(cell: Cell, dataset: Dataset) -> Labels:
    """Return labels that are permuted among the training examples beyond the cell's shots.

    The budget's draw stays as it is: examples whose new labels would change it keep their old ones.
    """
    budget = _budget(cell, dataset, dataset.y)
    rows = np.flatnonzero(np.isin(dataset.part, (TRAIN, VAL)) & (budget == 0))
    labels = dataset.y.copy()
    pending = [_shuffled(cell, rows)]
    while pending:
        some = pending.pop()
        candidate = labels.copy()
        candidate[some] = np.roll(labels[some], 1)
        after = _budget(cell, dataset, candidate)
        drawn = after[some] > 0
        if np.array_equal(after, budget):
            labels = candidate
        elif drawn.any() and not drawn.all():
            pending.append(some[~drawn])
        elif len(some) > _SMALLEST:
            pending += np.array_split(some, 2)
    return labels


def _budget(cell: Cell, dataset: Dataset, labels: Labels) -> NDArray[np.uint8]:
    """Return for each example (N,) whether its label is to fit on (1), to select by (2), or beyond the budget (0)."""
    info, pool = cell.dataset.info, dataset.rows(TRAIN)
    options = cell.protocol.options
    extra, scarce = extra_labels(options), gives_what_it_has(options)
    draw = draw_shots(labels, pool, cell.shots, cell.seed, info, groups=dataset.group, extra=extra, scarce=scarce)
    use = np.zeros(len(labels), np.uint8)
    use[draw.train], use[draw.val] = 1, 2
    return use


def _shuffled(cell: Cell, rows: Rows) -> Rows:
    keys = np.random.PCG64(derive_seed("audit", cell.id)).random_raw(len(rows)) if len(rows) else rows
    return rows[np.argsort(keys, kind="stable")]
