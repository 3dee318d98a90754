"""All pairs of rows at once: simultaneous intervals, rank intervals, and the rows that may be the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Generic

from tlbench.stats.contrasts import Contrast, family_contrasts, reversed_contrast
from tlbench.stats.dominance import dominated_rows
from tlbench.stats.intervals import nested_mean
from tlbench.stats.scores import Name, Scores, common_cells


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows compared, as one of all pairs.

    Attributes:
        contrast: The first minus the second; its interval is simultaneous with those of all other pairs.
        p: Two-sided p-value, corrected for all pairs; None where :class:`Contrast` has none.
        verdict: 1 where the first is significantly better, -1 where it is significantly worse, 0 otherwise.
    """

    contrast: Contrast
    p: float | None
    verdict: int


@dataclass(frozen=True)
class Pairwise(Generic[Name]):
    """Rows compared with each other.

    Attributes:
        names: The rows, in the order given.
        pairs: Pairs in both directions; pairs of rows that share no cell are missing.
        level: Simultaneous coverage of the intervals of all pairs.
    """

    names: tuple[Name, ...]
    pairs: dict[tuple[Name, Name], Pair]
    level: float


def all_pairs(rows: Mapping[Name, Scores], level: float = 0.95) -> Pairwise[Name]:
    """Compare all rows with each other, on the cells that each pair has in common.

    Each pair has its own Welch-Satterthwaite t interval, since variances differ between methods, with degrees of
    freedom capped as in :func:`~tlbench.stats.contrasts.family_contrasts`, and Bonferroni's correction over the
    k(k - 1)/2 pairs, which needs no assumption about their dependence.

    Args:
        rows: Score by seed, by (dataset, shots), by row.
        level: Simultaneous coverage.
    """
    tests = max(1, comb(len(rows), 2))
    alpha = (1.0 - level) / tests
    contrasts = family_contrasts({pair: (rows[pair[0]], rows[pair[1]]) for pair in combinations(rows, 2)}, 1.0 - alpha)
    pairs: dict[tuple[Name, Name], Pair] = {}
    for (first, second), contrast in contrasts.items():
        if contrast is None:
            continue
        significant = contrast.p is not None and contrast.p < alpha
        verdict = (1 if contrast.estimate.mean > 0 else -1) if significant else 0
        p = None if contrast.p is None else min(1.0, tests * contrast.p)
        pairs[first, second] = Pair(contrast, p, verdict)
        pairs[second, first] = Pair(reversed_contrast(contrast), p, -verdict)
    return Pairwise(tuple(rows), pairs, level)


def rank_intervals(pairwise: Pairwise[Name]) -> dict[Name, tuple[int, int]]:
    """Return the interval (best, worst) of each row's true rank, simultaneous at the coverage of the pairs.

    A row's rank is at least 1 plus the number of rows that are significantly better, and at most k minus the number
    that are significantly worse. Al Mohamad, Goeman and van Zwet 2022, "Simultaneous confidence intervals for ranks".
    """
    verdicts = {
        name: [pair.verdict for (first, _), pair in pairwise.pairs.items() if first == name] for name in pairwise.names
    }
    rows = len(pairwise.names)
    return {name: (1 + own.count(-1), rows - own.count(1)) for name, own in verdicts.items()}


def not_separable_from_best(
    rows: Mapping[Name, Scores], level: float = 0.95, new_datasets: bool = False
) -> tuple[Name, ...]:
    """Return a confidence set of the best row: it contains the truly best row with probability ``level``.

    The set does not depend on which row happens to lead. A row is excluded when some other row is better in a
    one-sided paired test at ``(1 - level) / (k - 1)``; the truly best row is wrongly excluded by any of its k - 1
    rivals in at most ``1 - level`` of cases (subset selection, Gupta 1965, with Bonferroni in place of its table for
    equal variances; Hsu 1984 on comparisons with the best). That corrects for far fewer comparisons than all pairs,
    hence has more power.

    Args:
        rows: Score by seed, by (dataset, shots), by row; compared on the cells that all have. Rows without a common
            cell, or with a single seed, cannot be excluded.
        level: Coverage of the set.
        new_datasets: Whether the best row on new datasets is meant
            (:func:`~tlbench.stats.contrasts.paired_contrast_across_datasets`), not that on these datasets.

    Returns:
        The rows, by descending mean.
    """
    common = common_cells(rows)
    shared = common.rows
    alpha = (1.0 - level) / max(1, len(rows) - 1)
    dominated = dominated_rows(shared, alpha, new_datasets) if common.cells else set()
    means = {name: nested_mean(scores).mean if scores else 0.0 for name, scores in shared.items()}
    return tuple(sorted((name for name in shared if name not in dominated), key=lambda name: -means[name]))
