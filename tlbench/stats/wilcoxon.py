"""Many datasets: all-pairs signed-rank tests, how many datasets they need, and the diagram that they allow."""

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
_DECIMALS = 12  # differences that agree so far are ties but for rounding


@dataclass(frozen=True)
class Diagram:
    """What a critical-difference diagram shows.

    Attributes:
        names: Methods, the best mean rank first.
        ranks: Their mean ranks over datasets; 1 is the best.
        p: Holm-adjusted p-values of all pairs (k, k), in the order of the names.
        cliques: Largest groups of two or more methods in which no pair is significantly different; two methods differ
            significantly exactly where no group holds both.
        datasets: Number of datasets.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    p: Array
    cliques: tuple[tuple[str, ...], ...]
    datasets: int


def enough_datasets(methods: int, level: float = 0.95) -> int:
    """Return the number of datasets below which all-pairs Wilcoxon-Holm cannot find anything.

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

    Differences of zero are left out, equal ones share their mean rank, and the distribution is that of the ranks as
    they are: all signs equally likely. Nothing left has p = 1.

    Args:
        differences: One a dataset.
    """
    values = np.round(np.asarray(differences, dtype=np.float64), _DECIMALS)
    values = values[values != 0]
    doubled = np.rint(2 * _midranks(np.abs(values))).astype(np.int64)
    ways = np.ones(1)
    for rank in doubled:  # the chance of each sum of the ranks with a positive sign
        longer = np.zeros(len(ways) + rank)
        longer[: len(ways)] += ways / 2
        longer[rank:] += ways / 2
        ways = longer
    positive = int(doubled[values > 0].sum())
    tail = min(float(ways[: positive + 1].sum()), float(ways[positive:].sum()))
    return min(1.0, 2.0 * tail)


def wilcoxon_holm(table: Array) -> Array:
    """Return the p-values of all pairs of methods (methods, methods), corrected by Holm; 1 on the diagonal.

    Signed-rank tests over datasets, as Benavoli, Corani and Mangili 2016 (JMLR 17) ask for in place of tests on mean
    ranks, whose verdict on two methods hangs on which others take part. Datasets are the independent units: shots
    and backbones are no further ones.

    Args:
        table: Score (datasets, methods), without gaps.
    """
    methods = table.shape[1]
    pairs = list(combinations(range(methods), 2))
    found = np.ones((methods, methods))
    adjusted = holm([signed_rank_p(table[:, first] - table[:, second]) for first, second in pairs])
    for (first, second), p in zip(pairs, adjusted, strict=True):
        found[first, second] = found[second, first] = p
    return found


def mean_ranks(table: Array) -> Array:
    """Return each method's mean rank over datasets; 1 is the highest score, equal scores share their mean rank.

    Args:
        table: Score (datasets, methods), without gaps.
    """
    return np.asarray(np.mean([_midranks(-np.round(scores, _DECIMALS)) for scores in table], axis=0), dtype=np.float64)


def diagram(table: Array, names: Sequence[str], level: float = 0.95) -> Diagram | None:
    """Return the diagram, or None where there are fewer datasets than :func:`enough_datasets`.

    Args:
        table: Score (datasets, methods), without gaps.
        names: Of the methods.
        level: One minus the rate of false alarms over all pairs.
    """
    if len(names) < 2 or len(table) < enough_datasets(len(names), level):
        return None
    ranks = mean_ranks(table)
    order = sorted(range(len(names)), key=lambda place: (ranks[place], names[place]))
    p = wilcoxon_holm(table)[np.ix_(order, order)]
    alike = {place: {*np.flatnonzero(p[place] >= 1.0 - level).tolist()} - {place} for place in range(len(order))}
    groups = sorted(sorted(group) for group in _cliques(set(), set(alike), set(), alike) if len(group) > 1)
    sorted_names = tuple(names[place] for place in order)
    return Diagram(
        names=sorted_names,
        ranks=tuple(float(ranks[place]) for place in order),
        p=p,
        cliques=tuple(tuple(sorted_names[place] for place in group) for group in groups),
        datasets=len(table),
    )


def _cliques(held: set[int], open_: set[int], closed: set[int], alike: dict[int, set[int]]) -> Iterator[set[int]]:
    """Yield the largest groups whose members are all alike (Bron and Kerbosch 1973, with a pivot)."""
    if not open_ and not closed:
        yield held
        return
    pivot = max(open_ | closed, key=lambda place: len(alike[place] & open_))
    for place in sorted(open_ - alike[pivot]):
        yield from _cliques(held | {place}, open_ & alike[place], closed & alike[place], alike)
        open_ = open_ - {place}
        closed = closed | {place}


def _midranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)
