"""Intervals of a mean: over the seeds of one stratum, over several strata, over the episodes of one seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from scipy.special import stdtrit

_ROUNDING = 1e-12  # a spread below this share of the values is rounding, not spread


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and what is known of its precision.

    Attributes:
        mean: The mean, in the unit of the values.
        n: Number of values it rests on.
        error: Standard error; None where it cannot be estimated (a stratum with a single value).
        dof: Degrees of freedom of the standard error; None without one, or where the values do not vary at all.
        low: Lower end of the interval; None without a standard error.
        high: Upper end of the interval.
    """

    mean: float
    n: int
    error: float | None = None
    dof: float | None = None
    low: float | None = None
    high: float | None = None

    def clipped(self, low: float, high: float) -> Estimate:
        """Cut the interval to the range that the quantity can take, which never lowers its coverage."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=min(max(self.low, low), self.mean), high=max(min(self.high, high), self.mean))


def mean_interval(values: Iterable[float], level: float = 0.95) -> Estimate:
    """Return the mean of independent values with Student's t interval.

    Args:
        values: At least one finite value, e.g. the accuracy of each seed.
        level: Coverage of the interval.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    return stratified_mean([tuple(values)], level)


def stratified_mean(
    strata: Iterable[Sequence[float]], level: float = 0.95, weights: Sequence[float] | None = None
) -> Estimate:
    """Return the weighted mean of the strata's means with a Welch-Satterthwaite t interval.

    With weights ``w`` that sum to 1, the variance is ``sum v`` with ``v = w^2 s^2 / n`` of each stratum, and the
    degrees of freedom are ``(sum v)^2 / sum(v^2 / (n - 1))`` (Satterthwaite 1946; Welch 1947). One stratum with a
    single value leaves the variance unknown: no interval.

    Args:
        strata: At least one stratum; the values of each are independent, and variances may differ between strata.
        level: Coverage of the interval.
        weights: Positive weight of each stratum; equal by default.

    Raises:
        ValueError: There is no stratum, one is empty, or a value is not finite.
    """
    arrays = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    if not arrays or any(array.size == 0 or not np.isfinite(array).all() for array in arrays):
        raise ValueError("every stratum needs at least one finite value, and there must be a stratum")
    weight = np.ones(len(arrays)) if weights is None else np.asarray(weights, dtype=np.float64)
    weight = weight / weight.sum()
    mean = float(weight @ [array.mean() for array in arrays])
    n = sum(array.size for array in arrays)
    if any(array.size < 2 for array in arrays):
        return Estimate(mean, n)
    variances = weight**2 * [_variance(array) / array.size for array in arrays]
    total = float(variances.sum())
    if total == 0.0:
        return Estimate(mean, n, error=0.0, low=mean, high=mean)
    freedom = np.array([array.size - 1 for array in arrays])
    shares = variances / total  # squaring shares, not variances, which may be tiny
    dof = 1.0 / float((shares**2 / freedom).sum())
    error = total**0.5
    reach = float(stdtrit(dof, 0.5 + level / 2)) * error
    return Estimate(mean, n, error, dof, mean - reach, mean + reach)


def nested_mean(scores: Mapping[tuple[str, str], Mapping[int, float]], level: float = 0.95) -> Estimate:
    """Return the mean over (dataset, shots) with an interval that knows that the shots of one dataset are nested.

    The 1-shot draw of a seed is part of its 5-shot draw, so the shots of a dataset rise and fall together with the
    seed and are no independent strata. Shots of one dataset with the same seeds are therefore averaged seed by seed
    first; what is left are strata that share no draw, each weighing as many shots as went into it.

    Args:
        scores: Score by seed, by (dataset, shots).
        level: Coverage of the interval.

    Raises:
        ValueError: There is no score, or one is not finite.
    """
    blocks: dict[tuple[str, frozenset[int]], list[Mapping[int, float]]] = {}
    for (dataset, _), by_seed in scores.items():
        blocks.setdefault((dataset, frozenset(by_seed)), []).append(by_seed)
    strata = [[fmean(one[seed] for one in members) for seed in seeds] for (_, seeds), members in blocks.items()]
    return stratified_mean(strata, level, [len(members) for members in blocks.values()])


def _variance(values: np.ndarray) -> float:
    scale = float(np.abs(values).max())
    if float(np.ptp(values)) <= _ROUNDING * max(scale, 1e-300):
        return 0.0
    return float(values.var(ddof=1))


def episode_interval(accuracies: Iterable[float]) -> Estimate:
    """Return the mean over the episodes of one fitted learner, plus or minus 1.96 standard errors.

    The field's usual few-shot figure (e.g. Snell et al. 2017, arXiv:1703.05175, section 3). It is the precision with
    which *this* learner was measured, and carries nothing of the spread between training runs.

    Args:
        accuracies: Accuracy of each episode; hundreds of them, for the normal quantile to hold.
    """
    values = np.asarray(tuple(accuracies), dtype=np.float64)
    estimate = mean_interval(values)
    if estimate.error is None:
        return estimate
    reach = 1.96 * estimate.error
    return replace(estimate, low=estimate.mean - reach, high=estimate.mean + reach)


def pooled_episode_reach(reaches: Iterable[float]) -> float:
    """Return the half-width for the mean of several seeds' episode means, each with its own half-width.

    The seeds' test episodes are drawn apart, so squared half-widths add.

    Args:
        reaches: Half-width of each seed's episode interval, at least one.

    Raises:
        ValueError: There is no half-width.
    """
    values = np.asarray(tuple(reaches), dtype=np.float64)
    if values.size == 0:
        raise ValueError("there is no half-width to pool")
    return float(np.sqrt((values**2).sum()) / values.size)
