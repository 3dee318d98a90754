"""All pairs of rows at once: simultaneous intervals, rank intervals, and the rows that may be the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from types import MappingProxyType
from typing import Generic

from tlbench.stats.contrasts import (
    Contrast,
    family_contrasts,
    paired_contrast_across_datasets,
    paired_differences,
    reversed_contrast,
)
from tlbench.stats.error_mixture import ErrorSource
from tlbench.stats.finite_test_set import UnitScores, difference_units, error_of_test_sets
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

    @property
    def tests(self) -> int:
        """Number of pairs of rows, for which p-values and intervals are corrected."""
        return max(1, comb(len(self.names), 2))


def all_pairs(
    rows: Mapping[Name, Scores], level: float = 0.95, units: Mapping[Name, UnitScores] = MappingProxyType({})
) -> Pairwise[Name]:
    """Compare all rows with each other, on the cells that each pair has in common.

    Intervals contain the errors of seeds and of the finite test sets, variances over seeds are moderated within the
    family (:func:`~tlbench.stats.contrasts.family_contrasts`), and Bonferroni's correction over the k(k - 1)/2 pairs
    needs no assumption about their dependence.

    Args:
        rows: Score by seed, by (dataset, shots), by row.
        level: Simultaneous coverage.
        units: Scores of test examples, by row; rows may be missing.
    """
    return _compare(rows, list(combinations(rows, 2)), level, units)


def pairs_with(
    leader: Name,
    rows: Mapping[Name, Scores],
    level: float = 0.95,
    units: Mapping[Name, UnitScores] = MappingProxyType({}),
) -> Pairwise[Name]:
    """Compare one row with each other, corrected for all pairs as :func:`all_pairs` is.

    So the row may have been chosen for its mean.

    Args:
        leader: The row.
        rows: Score by seed, by (dataset, shots), by row.
        level: Simultaneous coverage of the intervals of all pairs, also of those that are not computed.
        units: Scores of test examples, by row; rows may be missing.
    """
    return _compare(rows, [(leader, name) for name in rows if name != leader], level, units)


def _compare(
    rows: Mapping[Name, Scores], compared: list[tuple[Name, Name]], level: float, units: Mapping[Name, UnitScores]
) -> Pairwise[Name]:
    tests = max(1, comb(len(rows), 2))
    alpha = (1.0 - level) / tests
    scores = {pair: (rows[pair[0]], rows[pair[1]]) for pair in compared}
    errors = {pair: pair_error(*both, units.get(pair[0], {}), units.get(pair[1], {})) for pair, both in scores.items()}
    contrasts = family_contrasts(scores, len(rows), 1.0 - alpha, errors)
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
    rows: Mapping[Name, Scores],
    level: float = 0.95,
    new_datasets: bool = False,
    units: Mapping[Name, UnitScores] = MappingProxyType({}),
) -> tuple[Name, ...]:
    """Return the rows that are not significantly worse than the row with the best mean, that row included.

    Tests are two-sided and corrected for all pairs, since the row with the best mean was chosen for it: a row as good
    as that one is left out in at most ``1 - level`` of cases, and so is the truly best row. One-sided tests at
    ``(1 - level) / (k - 1)`` would keep the best row as surely (Gupta 1965), but would leave out one of two equal rows
    in a tenth of cases, which a reader takes for a difference.

    Args:
        rows: Score by seed, by (dataset, shots), by row; compared on the cells that all have. Rows without a common
            cell, or with a single seed, are not left out.
        level: One minus the rate at which any row is wrongly left out.
        new_datasets: Whether the best row on new datasets is meant
            (:func:`~tlbench.stats.contrasts.paired_contrast_across_datasets`), not that on these datasets.
        units: Scores of test examples, by row; rows may be missing. Tests on new datasets need none.

    Returns:
        The rows, by descending mean.
    """
    shared = common_cells(rows).rows
    if not shared:
        return ()
    mean_of = {name: nested_mean(scores).mean if scores else 0.0 for name, scores in shared.items()}
    leader, *others = sorted(shared, key=lambda name: -mean_of[name])
    if not new_datasets:
        pairs = pairs_with(leader, shared, level, units).pairs
        return (leader, *(name for name in others if (leader, name) not in pairs or pairs[leader, name].verdict != 1))
    alpha = (1.0 - level) / max(1, comb(len(shared), 2))
    contrasts = {name: paired_contrast_across_datasets(shared[leader], shared[name]) for name in others}
    return (leader, *(name for name in others if not _is_worse(contrasts[name], alpha)))


def pair_error(ours: Scores, theirs: Scores, our_units: UnitScores, their_units: UnitScores) -> ErrorSource | None:
    """Return the error of a paired difference that the finite test sets cause; None where it is not known."""
    return error_of_test_sets(difference_units(our_units, their_units), paired_differences(ours, theirs))


def _is_worse(lead: Contrast | None, alpha: float) -> bool:
    return lead is not None and lead.p is not None and lead.estimate.mean > 0 and lead.p < alpha
