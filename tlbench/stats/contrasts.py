"""Paired differences between two methods, and Holm's correction for asking several times."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy.special import stdtr

from tlbench.stats.intervals import Estimate, stratified_mean

Stratum = TypeVar("Stratum", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A mean paired difference.

    Attributes:
        estimate: The difference (ours minus theirs) with its interval; ``estimate.n`` counts pairs.
        p: Two-sided p-value of "no difference"; None without a standard error, and where a difference does not vary
            over seeds at all, since no spread is no evidence of precision. Two equal rows have p = 1.
        strata: Number of strata with at least one pair.
    """

    estimate: Estimate
    p: float | None
    strata: int


def paired(ours: Mapping[int, float], theirs: Mapping[int, float], level: float = 0.95) -> Contrast | None:
    """Compare two methods on one stratum, seed by seed.

    Args:
        ours: Score by seed.
        theirs: Score by seed, on the same draws.
        level: Coverage of the interval.

    Returns:
        The contrast over the seeds that both have, or None when they share no seed.
    """
    return paired_strata({0: ours}, {0: theirs}, level)


def paired_strata(
    ours: Mapping[Stratum, Mapping[int, float]],
    theirs: Mapping[Stratum, Mapping[int, float]],
    level: float = 0.95,
) -> Contrast | None:
    """Compare two methods over several strata: paired within each, Welch-Satterthwaite across.

    Args:
        ours: Score by seed, by stratum.
        theirs: Score by seed, by stratum, on the same draws.
        level: Coverage of the interval.

    Returns:
        The contrast over the cells that both have, or None when they share none.
    """
    differences = []
    for stratum, scores in ours.items():
        others = theirs.get(stratum, {})
        shared = sorted(scores.keys() & others.keys())
        if shared:
            differences.append([scores[seed] - others[seed] for seed in shared])
    if not differences:
        return None
    estimate = stratified_mean(differences, level)
    return Contrast(estimate, _p_value(estimate), len(differences))


def _p_value(estimate: Estimate) -> float | None:
    if estimate.error is None:
        return None
    if estimate.error == 0.0 or estimate.dof is None:
        return 1.0 if estimate.mean == 0.0 else None
    return float(2.0 * stdtr(estimate.dof, -abs(estimate.mean) / estimate.error))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust the p-values of one family so that a false alarm anywhere in it keeps its nominal rate.

    Step-down Bonferroni (Holm 1979): the i-th smallest of m is multiplied by ``m - i + 1``, and no adjusted value
    falls below an earlier one. Contrasts without a p-value make no claim, stay None, and do not count into m.
    """
    order = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for rank, (p, position) in enumerate(order):
        floor = max(floor, min(1.0, p * (len(order) - rank)))
        adjusted[position] = floor
    return tuple(adjusted)
