"""What a decoded dataset is, and the parts of it that a method may see."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.data.mixed_images import MixedImages

TRAIN, VAL, TEST = 0, 1, 2
SOURCE, SOURCE_VAL = 3, 4
"""The other domain of a pair: its training examples, and what it holds out. The first three parts are the target's."""


@dataclass(frozen=True)
class Dataset:
    """A whole decoded dataset, memory-mapped. Only protocols and pre-training hold one; methods get :class:`Split`.

    Attributes:
        info: Facts.
        x: ``uint8`` images (N, C, H, W), or N images of several sizes, or a sequence of N texts, or their token ids,
            ``int32`` (N, L).
        y: ``int64`` labels (N,).
        part: ``uint8`` (N,): TRAIN, VAL or TEST, the example split of the source (or a seeded one); in a pair of
            domains also SOURCE and SOURCE_VAL.
        domain: ``int64`` (N,) domain of each example, all zero when there is one domain.
        tokens: Names how texts became token ids, or images of several sizes squares; empty where they did not.
        group: ``int64`` (N,) group of each example, where those of one resemble each other (texts of one file); None
            where there are no groups.
        notes: What a record of results on it must say.
    """

    info: DatasetInfo
    x: NDArray[np.uint8] | NDArray[np.int32] | MixedImages | Sequence[str]
    y: NDArray[np.int64]
    part: NDArray[np.uint8]
    domain: NDArray[np.int64]
    tokens: str = ""
    group: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def rows(self, part: int) -> NDArray[np.int64]:
        """Return the row numbers of one example split."""
        return np.flatnonzero(self.part == part)

    def rows_of_classes(self, classes: Collection[int]) -> NDArray[np.int64]:
        """Return the row numbers of all examples of some classes; of a pair of domains only those of the target."""
        return np.flatnonzero(np.isin(self.y, list(classes)) & (self.part <= TEST))


def with_origin(dataset: Dataset, origin: str) -> Dataset:
    """Return a dataset whose facts say where its labelled examples come from (see :class:`DatasetInfo`)."""
    return replace(dataset, info=replace(dataset.info, origin=origin))


class Split:
    """Some rows of a dataset, and nothing else of it.

    Args:
        x: ``uint8`` images (n, C, H, W), or ``int32`` token ids (n, L); or a function that copies them out, called
            when they are first read. Methods on cached features never read them.
        y: Labels (n,) counted from 0 within the task, or None for unlabelled examples.
        rows: Row numbers in the dataset (n,): the key into cached features, no more.
    """

    def __init__(self, x: Any, y: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> None:
        self._x = x
        self.y = y
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def x(self) -> Any:
        """The inputs: ``uint8`` images (n, C, H, W), ``int32`` token ids (n, L), or a list of n texts as they are."""
        if callable(self._x):
            self._x = self._x()
        return self._x

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of a labelled split.

        Raises:
            ValueError: The split has none.
        """
        if self.y is None:
            raise ValueError("this split is unlabelled")
        return self.y


@dataclass(frozen=True)
class Task:
    """What a method is given. The test split is not among it.

    Attributes:
        info: Facts of the task.
        train: Labelled examples to fit on. In ``episodic``: all examples of the training classes; in ``adaptation``:
            the shots of the target, empty where there are none.
        val: Labelled examples to choose by, the epoch included; None where all labels of the budget are to fit on.
            In ``episodic``: the examples of the validation classes; in ``adaptation``: held-out source examples.
        folds: Fold of each training example (n,), -1 in none. By them a method makes those choices that need no further
            training of the network, as C of a probe: what is fitted to the others is scored on each fold in turn, and
            what was chosen is fitted to all. None where nothing is chosen so.
        unlabeled: The remaining training examples without labels, or None. In ``adaptation``: all of the target's.
        source: Labelled examples of another domain, or None.
    """

    info: TaskInfo
    train: Split
    val: Split | None
    unlabeled: Split | None = None
    source: Split | None = None
    folds: NDArray[np.int64] | None = None

    def choosing(self) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_] | None]]:
        """Return by which examples choices are made: those of each fit, and those that it is scored on.

        Returns:
            Masks of the training examples (n,); in place of the second None where all of ``val`` is scored. Empty where
            there is nothing to choose by.
        """
        if self.folds is not None:
            return [(self.folds != each, self.folds == each) for each in range(int(self.folds.max()) + 1)]
        return [] if self.val is None else [(np.ones(len(self.train), bool), None)]


def take(dataset: Dataset, rows: NDArray[np.int64], labels: NDArray[np.int64] | None) -> Split:
    """Return some rows of a dataset, with the given labels (already counted within the task) or none."""
    return Split(lambda: _copy(dataset.x, rows), labels, rows)


def _copy(x: NDArray[Any] | Sequence[Any], rows: NDArray[np.int64]) -> Any:
    return np.ascontiguousarray(x[rows]) if isinstance(x, np.ndarray) else [x[int(row)] for row in rows]
