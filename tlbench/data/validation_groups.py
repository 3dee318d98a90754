"""Which groups of examples are for validation, where the examples of a group resemble each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tlbench.core.hashing import derive_seed

Rows = NDArray[np.int64]


def groups_apart(labels: Rows, groups: Rows, fractions: tuple[float, ...], seed: int) -> NDArray[np.bool_]:
    """Choose whole groups that hold about a fraction of each class, the same for every number of shots.

    Groups are tried in a seeded order, and one is chosen that brings its class nearer to the fraction; a class of two
    groups or more gives at least one and keeps at least one, unless it shares them with classes before it. Of several
    fractions, which rise, the groups of each are among those of the next.

    Args:
        labels: Labels (n,).
        groups: Group of each example (n,).
        fractions: Parts of each class, the last of which is wanted.
        seed: Decides the order.

    Returns:
        True where the example's group is chosen (n,).
    """
    chosen: frozenset[int] = frozenset()
    for fraction in fractions:
        chosen = _fill(labels, groups, fraction, chosen, lambda group: derive_seed("group", seed, group))
    return np.isin(groups, sorted(chosen))


def classes_mixed(labels: Rows, groups: Rows, train: Rows, val: Rows) -> Rows:
    """Return the labels of which validation has examples whose group is trained on.

    Args:
        labels: Labels of the whole dataset (N,).
        groups: Group of each example (N,).
        train: Row numbers to fit on.
        val: Row numbers to select by.
    """
    return np.unique(labels[val[np.isin(groups[val], groups[train])]])


def _fill(
    labels: Rows, groups: Rows, fraction: float, before: frozenset[int], order: Callable[[int], int]
) -> frozenset[int]:
    """Return the groups chosen before, and others of each class that bring it near to a fraction."""
    chosen, kept = set(before), set[int]()
    for label in np.unique(labels):
        found, count = np.unique(groups[labels == label], return_counts=True)
        size = dict(zip(found.tolist(), count.tolist(), strict=True))
        wanted, total = fraction * len(labels[labels == label]), sum(size[group] for group in size.keys() & chosen)
        free = sorted(size.keys() - chosen - kept, key=order)
        for group in free:
            if abs(total + size[group] - wanted) < abs(total - wanted):
                chosen.add(group)
                total += size[group]
        if not total and free and len(size) > 1:
            chosen.add(min(free, key=lambda group: size[group]))
        kept |= size.keys() - chosen
    return frozenset(chosen)
