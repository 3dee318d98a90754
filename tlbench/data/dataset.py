"""What a decoded dataset is, and the parts of it that a method may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.info import DatasetInfo, TaskInfo

TRAIN, VAL, TEST = 0, 1, 2


@dataclass(frozen=True)
class Dataset:
    """A whole decoded dataset, memory-mapped. Only protocols and pre-training hold one; methods get :class:`Split`.

    Attributes:
        info: Facts.
        x: ``uint8`` images (N, C, H, W), or a sequence of N texts.
        y: ``int64`` labels (N,).
        part: ``uint8`` (N,): TRAIN, VAL or TEST, the example split of the source (or a seeded one).
        domain: ``int64`` (N,) domain of each example, all zero when there is one domain.
    """

    info: DatasetInfo
    x: NDArray[np.uint8] | Sequence[str]
    y: NDArray[np.int64]
    part: NDArray[np.uint8]
    domain: NDArray[np.int64]

    def rows(self, part: int) -> NDArray[np.int64]:
        """Return the row numbers of one example split."""
        return np.flatnonzero(self.part == part)


@dataclass(frozen=True)
class Split:
    """Some rows of a dataset, copied out, so that nothing else of it can be reached.

    Attributes:
        x: ``uint8`` images (n, C, H, W), or n texts.
        y: Labels (n,) counted from 0 within the task, or None for unlabelled examples.
        rows: Row numbers in the dataset (n,): the key into cached features, no more.
    """

    x: Any
    y: NDArray[np.int64] | None
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

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
        train: Labelled examples to fit on. In ``episodic``: all examples of the training classes.
        val: Labelled examples to select by, taken out of the label budget; None when the budget is one shot.
            In ``episodic``: the examples of the validation classes.
        unlabeled: The remaining training examples without labels, or None.
        source: Labelled examples of another domain, or None.
    """

    info: TaskInfo
    train: Split
    val: Split | None
    unlabeled: Split | None = None
    source: Split | None = None


def take(dataset: Dataset, rows: NDArray[np.int64], labels: NDArray[np.int64] | None) -> Split:
    """Copy rows out of a dataset, with the given labels (already counted within the task) or none."""
    x = dataset.x[rows] if isinstance(dataset.x, np.ndarray) else [dataset.x[int(row)] for row in rows]
    return Split(x=np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x, y=labels, rows=rows)
