"""Comparisons over many datasets: all-pairs signed-rank tests and the critical-difference diagram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.stats.contrasts import holm

Array = NDArray[np.float64]
_DECIMALS = 12  # differences that agree to so many decimals are ties


@dataclass(frozen=True)
class CriticalDifferenceDiagram:
    """The content of a critical-difference diagram.

    Attributes:
        names: Methods, by ascending mean rank.
        ranks: Their mean ranks over datasets; 1 is the best.
        p: Holm-adjusted p-values of all pairs (k, k), in the order of the names.
        cliques: Maximal groups of two or more methods in which no pair is significantly different; two methods differ
            significantly exactly where no group contains both.
        datasets: Number of datasets.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    p: Array
    cliques: tuple[tuple[str, ...], ...]
    datasets: int


def required_datasets(methods: int, level: float = 0.95) -> int:
    """Return the number of datasets below which no pair can be significant under all-pairs Wilcoxon-Holm.

    With n datasets the smallest two-sided p-value is ``2^(1 - n)``, and Holm's first step multiplies it by the number
    of pairs: 6 datasets for two methods, 11 for eight.

    Raises:
        ValueError: There are fewer than two methods.
    """
    if methods < 2:
        raise ValueError("a comparison needs two methods")
    return 1 + ceil(log2(comb(methods, 2) / (1.0 - level)))


def signed_rank_p(differences: Sequence[float] | NDArray[Any]) -> float:
    """Return the exact two-sided p-value of Wilcoxon's signed-rank test (1945).

    Differences of zero are dropped, equal differences share their mean rank, and the null distribution is computed
    exactly from these ranks, all signs being equally likely. Without non-zero differences p is 1.

    Args:
        differences: One difference per dataset.
    """
    values = np.round(np.asarray(differences, dtype=np.float64), _DECIMALS)
    values = values[values != 0]
    doubled = np.rint(2 * _midranks(np.abs(values))).astype(np.int64)
    probabilities = np.ones(1)  # of each sum of the doubled ranks with a positive sign
    for rank in doubled:
        longer = np.zeros(len(probabilities) + rank)
        longer[: len(probabilities)] += probabilities / 2
        longer[rank:] += probabilities / 2
        probabilities = longer
    positive = int(doubled[values > 0].sum())
    tail = min(float(probabilities[: positive + 1].sum()), float(probabilities[positive:].sum()))
    return min(1.0, 2.0 * tail)


def wilcoxon_holm(table: Array) -> Array:
    """Return the p-values of all pairs of methods (methods, methods), corrected by Holm; 1 on the diagonal.

    Signed-rank tests over datasets, recommended by Benavoli, Corani and Mangili 2016 (JMLR 17) over tests on mean
    ranks, whose result for two methods depends on which other methods take part. Datasets are the independent units;
    shots and backbones are not.

    Args:
        table: Score (datasets, methods), without gaps.
    """
    methods = table.shape[1]
    pairs = list(combinations(range(methods), 2))
    p_values = np.ones((methods, methods))
    adjusted = holm([signed_rank_p(table[:, first] - table[:, second]) for first, second in pairs])
    for (first, second), p in zip(pairs, adjusted, strict=True):
        p_values[first, second] = p_values[second, first] = p
    return p_values


def mean_ranks(table: Array) -> Array:
    """Return each method's mean rank over datasets; 1 is the highest score, equal scores share their mean rank.

    Args:
        table: Score (datasets, methods), without gaps.
    """
    return np.asarray(np.mean([_midranks(-np.round(scores, _DECIMALS)) for scores in table], axis=0), dtype=np.float64)


def critical_difference_diagram(
    table: Array, names: Sequence[str], level: float = 0.95
) -> CriticalDifferenceDiagram | None:
    """Return the diagram, or None where there are fewer datasets than :func:`required_datasets`.

    Args:
        table: Score (datasets, methods), without gaps.
        names: Names of the methods.
        level: One minus the family-wise rate of false positives over all pairs.
    """
    if len(names) < 2 or len(table) < required_datasets(len(names), level):
        return None
    ranks = mean_ranks(table)
    order = sorted(range(len(names)), key=lambda method: (ranks[method], names[method]))
    p = wilcoxon_holm(table)[np.ix_(order, order)]
    neighbours = {
        method: {*np.flatnonzero(p[method] >= 1.0 - level).tolist()} - {method} for method in range(len(order))
    }
    groups = sorted(sorted(group) for group in _cliques(set(), set(neighbours), set(), neighbours) if len(group) > 1)
    sorted_names = tuple(names[method] for method in order)
    return CriticalDifferenceDiagram(
        names=sorted_names,
        ranks=tuple(float(ranks[method]) for method in order),
        p=p,
        cliques=tuple(tuple(sorted_names[method] for method in group) for group in groups),
        datasets=len(table),
    )


def _cliques(
    clique: set[int], candidates: set[int], excluded: set[int], neighbours: dict[int, set[int]]
) -> Iterator[set[int]]:
    """Yield the maximal cliques of a graph that extend ``clique`` (Bron and Kerbosch 1973, with a pivot)."""
    if not candidates and not excluded:
        yield clique
        return
    pivot = max(candidates | excluded, key=lambda node: len(neighbours[node] & candidates))
    for node in sorted(candidates - neighbours[pivot]):
        yield from _cliques(clique | {node}, candidates & neighbours[node], excluded & neighbours[node], neighbours)
        candidates = candidates - {node}
        excluded = excluded | {node}


def _midranks(values: Array) -> Array:
    """Return ascending ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)
