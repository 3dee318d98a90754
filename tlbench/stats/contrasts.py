"""Paired differences between two methods, and Holm's correction for asking several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr

from tlbench.stats.intervals import Estimate, nested_mean


@dataclass(frozen=True, slots=True)
class Contrast:
    """A mean paired difference.

    Attributes:
        estimate: The difference (ours minus theirs) with its interval; ``estimate.n`` counts independent ones.
        p: Two-sided p-value of "no difference"; None without a standard error, and where a difference does not vary
            over seeds at all, since no spread is no evidence of precision. Two equal rows have p = 1.
        pairs: Number of pairs of cells.
    """

    estimate: Estimate
    p: float | None
    pairs: int


def paired(
    ours: Mapping[tuple[str, str], Mapping[int, float]],
    theirs: Mapping[tuple[str, str], Mapping[int, float]],
    level: float = 0.95,
) -> Contrast | None:
    """Compare two methods on the cells that both have: paired by seed, pooled as :func:`nested_mean` pools.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same draws.
        level: Coverage of the interval.

    Returns:
        The contrast, or None when they share no cell.
    """
    differences = {}
    for stratum, scores in ours.items():
        others = theirs.get(stratum, {})
        shared = scores.keys() & others.keys()
        if shared:
            differences[stratum] = {seed: scores[seed] - others[seed] for seed in sorted(shared)}
    if not differences:
        return None
    estimate = nested_mean(differences, level)
    return Contrast(estimate, _p_value(estimate), sum(map(len, differences.values())))


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
