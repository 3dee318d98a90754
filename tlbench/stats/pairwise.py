"""All pairs of rows at once: simultaneous intervals, the ranks they leave open, and which rows may be the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Generic

from tlbench.stats.contrasts import Contrast, family, mirrored
from tlbench.stats.dominance import beaten
from tlbench.stats.intervals import nested_mean
from tlbench.stats.scores import Name, Scores, common_cells


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows compared, as one of all pairs.

    Attributes:
        contrast: The first minus the second; its interval is simultaneous with those of all other pairs.
        p: Two-sided p-value, corrected for all pairs; None where :class:`Contrast` has none.
        verdict: 1 where the first is significantly better, -1 where it is worse, 0 where the two are not separable.
    """

    contrast: Contrast
    p: float | None
    verdict: int


@dataclass(frozen=True)
class Pairwise(Generic[Name]):
    """Rows compared with each other.

    Attributes:
        names: The rows, in the order given.
        pairs: Pairs in both directions; two rows that share no cell are missing.
        level: Probability that no interval of all pairs misses its difference.
    """

    names: tuple[Name, ...]
    pairs: dict[tuple[Name, Name], Pair]
    level: float


def all_pairs(rows: Mapping[Name, Scores], level: float = 0.95) -> Pairwise[Name]:
    """Compare all rows with each other, on the cells that each pair has in common.

    Each pair has its own Welch-Satterthwaite t interval, as methods spread unlike each other, its degrees of freedom
    held down as in :func:`family`, and Bonferroni's correction over the k(k - 1)/2 pairs, which needs no assumption of
    how they depend on each other.

    Args:
        rows: Score by seed, by (dataset, shots), by row.
        level: Simultaneous coverage.
    """
    tests = max(1, comb(len(rows), 2))
    alarm = (1.0 - level) / tests
    contrasts = family({(one, two): (rows[one], rows[two]) for one, two in combinations(rows, 2)}, 1.0 - alarm)
    pairs: dict[tuple[Name, Name], Pair] = {}
    for (first, second), contrast in contrasts.items():
        if contrast is None:
            continue
        separable = contrast.p is not None and contrast.p < alarm
        verdict = (1 if contrast.estimate.mean > 0 else -1) if separable else 0
        p = None if contrast.p is None else min(1.0, tests * contrast.p)
        pairs[first, second] = Pair(contrast, p, verdict)
        pairs[second, first] = Pair(mirrored(contrast), p, -verdict)
    return Pairwise(tuple(rows), pairs, level)


def rank_intervals(pairwise: Pairwise[Name]) -> dict[Name, tuple[int, int]]:
    """Return the best and the worst rank that each row may truly have; all hold at once, with the pairs' probability.

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
    """Return the rows that may be the best: with probability ``level`` the one that truly is, is among them.

    The set does not rest on the row that happens to lead. A row falls out when some other beats it in a one-sided
    paired test at ``(1 - level) / (k - 1)``; the truly best row is wrongly beaten by any of its k - 1 rivals in at
    most ``1 - level`` of cases (subset selection, Gupta 1965, with Bonferroni for its table of equal variances; Hsu
    1984 on comparisons with the best). Far fewer comparisons than all pairs need, hence more power.

    Args:
        rows: Score by seed, by (dataset, shots), by row; compared on the cells that all have. Rows without a common
            cell, or with one seed, cannot be told apart.
        level: Probability.
        new_datasets: Whether the best on new datasets is meant, by :func:`paired_across`; else that on these.

    Returns:
        The rows, that with the best mean first.
    """
    common = common_cells(rows)
    shared = common.rows
    alarm = (1.0 - level) / max(1, len(rows) - 1)
    lost = beaten(shared, alarm, new_datasets) if common.cells else set()
    means = {name: nested_mean(scores).mean if scores else 0.0 for name, scores in shared.items()}
    return tuple(sorted((name for name in shared if name not in lost), key=lambda name: -means[name]))
