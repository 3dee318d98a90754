"""Divides the labelled examples of a budget into folds, each of which validates once what is fitted to the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlbench.core.hashing import derive_seed

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """One of several folds.

    Attributes:
        number: From 0 on.
        count: Number of folds.
    """

    number: int
    count: int


def assign_folds(labels: Rows, groups: Rows | None, count: int, seed: int) -> Rows:
    """Return the fold of each example (n,), from 0 to ``count - 1``.

    Without groups each class is shuffled and dealt out in turn, the next one where the last one ended; so a class of m
    examples has m // count or one more in each fold, and folds differ by one example at most. With groups a whole group
    goes to the fold that has least of its class so far, large groups first (like StratifiedGroupKFold of scikit-learn);
    only a class whose examples would all lie in one fold, as it has one group, is dealt out by example. So is all
    where there are fewer groups than folds.

    Args:
        labels: Labels (n,); a class has as many examples as there are folds, or its examples miss in some fold.
        groups: Group of each example (n,), or None.
        count: Number of folds.
        seed: Decides everything.
    """
    shuffled = np.argsort(np.random.PCG64(derive_seed("folds", seed)).random_raw(len(labels)), kind="stable")
    if groups is None:
        return _dealt_out(labels, shuffled, count)
    folds = np.full(len(labels), -1)
    sizes = np.zeros((count, int(labels.max()) + 1), np.int64)  # examples of each class in each fold
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        found, first, size = np.unique(groups[own], return_index=True, return_counts=True)
        for group in found[np.lexsort((first, -size))]:
            members = groups == group
            if (folds[members] >= 0).any():
                continue  # with a class before
            fold = np.lexsort((sizes.sum(1), sizes[:, label]))[0]
            folds[members] = fold
            sizes[fold] += np.bincount(labels[members], minlength=sizes.shape[1])
    for label in np.unique(labels):
        members = labels == label
        if members.sum() > 1 and len(np.unique(folds[members])) == 1:
            folds[members] = _dealt_out(labels[members], np.argsort(np.argsort(shuffled)[members]), count)
    return folds if len(np.unique(folds)) == count else _dealt_out(labels, shuffled, count)


def _dealt_out(labels: Rows, order: Rows, count: int) -> Rows:
    """Return the folds of examples that are dealt out class by class, in some order within each."""
    line = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[line] = np.arange(len(labels)) % count
    return folds
