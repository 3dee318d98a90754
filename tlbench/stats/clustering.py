"""Clusters of points, and how far two ways to group the same points agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, gammaln

Groups = NDArray[np.int64]
_ROUNDS = 50


def k_means(x: NDArray[np.float64], clusters: int) -> Groups:
    """Return the cluster (n,) of each row (n, D), by Lloyd's algorithm from one start of a fixed seed.

    The start is that of k-means++: each centre is a row drawn by its squared distance to the centres before it (Arthur
    and Vassilvitskii 2007). A cluster that loses all its rows keeps its centre.
    """
    generator = np.random.default_rng(0)
    centres = x[generator.integers(len(x))][None]
    nearest = _squared_distances(x, centres)[:, 0]
    for _ in range(clusters - 1):
        total = nearest.sum()
        row = generator.choice(len(x), p=nearest / total) if total > 0 else generator.integers(len(x))
        centres = np.concatenate([centres, x[row][None]])
        nearest = np.minimum(nearest, _squared_distances(x, centres[-1:])[:, 0])
    found: Groups = np.full(len(x), -1)
    for _ in range(_ROUNDS):
        labels = _squared_distances(x, centres).argmin(1)
        if (labels == found).all():
            break
        found = labels
        sizes = np.bincount(found, minlength=clusters)
        sums = np.zeros_like(centres)
        np.add.at(sums, found, x)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return found


def adjusted_mutual_information(first: Groups, second: Groups) -> float:
    """Return the mutual information of two groupings, 0 in expectation for independent ones, 1 for equal ones.

    (I - E) / (mean of both entropies - E), E the expectation of I over all permutations. Vinh, Epps and Bailey 2010,
    JMLR 11. It is 0 where either side has one group only.

    Args:
        first: Groups (n,), numbered from 0 on.
        second: Groups (n,) of the same points.
    """
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    count = len(first)
    rows, columns = (sums[sums > 0] for sums in (table.sum(1), table.sum(0)))
    if len(rows) < 2 or len(columns) < 2:
        return 0.0
    entropies = [float(entr(sums / count).sum()) for sums in (rows, columns)]
    information = sum(entropies) - float(entr(table / count).sum())
    expected = _expected_information(rows, columns, count)
    return (information - expected) / (sum(entropies) / 2 - expected)


def _expected_information(rows: NDArray[np.float64], columns: NDArray[np.float64], count: int) -> float:
    """Return the mean mutual information of groupings with given sizes: sizes of overlaps are hypergeometric."""
    total = 0.0
    for a, times in zip(*np.unique(rows, return_counts=True), strict=True):
        for b, others in zip(*np.unique(columns, return_counts=True), strict=True):
            n = np.arange(max(1.0, a + b - count), min(a, b) + 1)
            outside = count - a - b + n
            log_p = gammaln([a + 1, b + 1, count - a + 1, count - b + 1]).sum() - gammaln(count + 1)
            log_p = log_p - gammaln(n + 1) - gammaln(a - n + 1) - gammaln(b - n + 1) - gammaln(outside + 1)
            total += times * others * float((n / count * np.log(count * n / (a * b)) * np.exp(log_p)).sum())
    return total


def _squared_distances(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return squared distances (n, k) of rows (n, D) to centres (k, D)."""
    distances = (x**2).sum(1)[:, None] - 2 * x @ centres.T + (centres**2).sum(1)
    clipped: NDArray[np.float64] = np.maximum(distances, 0.0)
    return clipped
