"""Confidence intervals of a mean: over the seeds of one stratum, several strata, or the episodes of one seed.

Seeds share one test set, so that their spread does not contain its error: where that is known
(:mod:`tlbench.stats.finite_test_set`), intervals contain both sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from tlbench.stats.error_mixture import ErrorSource, half_width
from tlbench.stats.scores import Scores, dataset_means

StratumKey = tuple[str, frozenset[int]]
"""A dataset and the seeds of one of its strata: seeds that have results at the same numbers of shots."""

ROUNDING = 1e-12
"""A spread below this fraction of the values' magnitude is rounding error and counts as zero."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error and confidence interval.

    Attributes:
        mean: The mean, in the unit of the values.
        n: Number of values averaged.
        error: Standard error over seeds; None where it cannot be estimated (a stratum with a single value).
        dof: Degrees of freedom of the standard error; None without one, or where the values do not vary at all.
        low: Lower end of the interval; None without a standard error.
        high: Upper end of the interval.
        tests: Error of the finite test set, which the interval contains; None where it is not known.
    """

    mean: float
    n: int
    error: float | None = None
    dof: float | None = None
    low: float | None = None
    high: float | None = None
    tests: ErrorSource | None = None

    def clipped(self, low: float, high: float) -> Estimate:
        """Return the estimate with its interval clipped to the range of the quantity; coverage never falls by it."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=min(max(self.low, low), self.mean), high=max(min(self.high, high), self.mean))


@dataclass(frozen=True, slots=True)
class VarianceComponent:
    """The contribution of one stratum to the variance of a mean.

    Attributes:
        variance: Estimated variance.
        dof: Its degrees of freedom.
    """

    variance: float
    dof: float


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
    components = [_component(array, float(share)) for array, share in zip(arrays, weight, strict=True)]
    dof = satterthwaite(components)
    if dof is None:
        return Estimate(mean, n, error=0.0, low=mean, high=mean)
    error = sum(component.variance for component in components) ** 0.5
    return with_interval(Estimate(mean, n, error, dof), level)


def satterthwaite(components: Iterable[VarianceComponent]) -> float | None:
    """Return the degrees of freedom of a sum of independent variance estimates; None where all are zero."""
    terms = tuple(components)
    total = sum(term.variance for term in terms)
    if total == 0.0:
        return None
    # Squares of shares, not of variances, whose squares may underflow.
    return 1.0 / sum((term.variance / total) ** 2 / term.dof for term in terms)


def with_interval(estimate: Estimate, level: float) -> Estimate:
    """Return an estimate with the interval of its errors over seeds and over test examples; as it is without one."""
    if estimate.error is None:
        return estimate
    seeds = ErrorSource(estimate.error, inf if estimate.dof is None else estimate.dof)
    reach = half_width(seeds, estimate.tests or ErrorSource(0.0), level)
    return replace(estimate, low=estimate.mean - reach, high=estimate.mean + reach)


def nested_mean(scores: Scores, level: float = 0.95, tests: ErrorSource | None = None) -> Estimate:
    """Return the mean over (dataset, shots) with an interval that accounts for nested shots.

    The 1-shot sample of a seed is part of its 5-shot sample, so scores at the shots of one dataset are correlated
    within a seed and are no independent strata. Scores are therefore averaged over shots seed by seed first, which
    leaves strata of seeds that share no sample (see :func:`independent_strata`).

    Args:
        scores: Score by seed, by (dataset, shots).
        level: Coverage of the interval.
        tests: Error of the finite test sets, by :func:`tlbench.stats.finite_test_set.error_of_test_sets`.

    Raises:
        ValueError: There is no score, or one is not finite.
    """
    strata = independent_strata(scores)
    values, weights = [own for own, _ in strata.values()], [weight for _, weight in strata.values()]
    estimate = stratified_mean(values, level, weights)
    return with_interval(replace(estimate, n=sum(len(seeds) for _, seeds in strata), tests=tests), level)


def variance_components(scores: Scores) -> dict[StratumKey, VarianceComponent]:
    """Return the contribution of each stratum to the variance of :func:`nested_mean`.

    Args:
        scores: Score by seed, by (dataset, shots).

    Returns:
        The components by stratum; empty where some stratum has a single value, so that the variance is unknown.
    """
    strata = independent_strata(scores)
    if any(len(values) < 2 for values, _ in strata.values()):
        return {}
    total = sum(weight for _, weight in strata.values())
    return {key: _component(np.array(values), weight / total) for key, (values, weight) in strata.items()}


def across_datasets(scores: Scores, level: float = 0.95) -> Estimate:
    """Return the mean over datasets with an interval for *new* datasets of the same kind.

    Student's t over the datasets' means, with one degree of freedom fewer than there are datasets: seeds and shots of
    one dataset do not count as datasets. One dataset gives no interval.

    Args:
        scores: Score by seed, by (dataset, shots); all datasets have the same weight.
        level: Coverage of the interval.

    Raises:
        ValueError: There is no score, or one is not finite.
    """
    return mean_interval(dataset_means(scores).values(), level)


def independent_strata(scores: Scores) -> dict[StratumKey, tuple[list[float], float]]:
    """Return strata of independent, identically distributed values, with the weight of each stratum's mean.

    A seed's value is the mean of its scores over the shots that have the seed, each weighted as a single seed of these
    shots. Seeds of a dataset that occur at the same shots form a stratum: one of all seeds where all shots have the
    same seeds, one for each number of shots where no two share a seed.

    A stratum of a single seed, as where one cell is missing, has no sample variance of its own. It is given two values
    instead, symmetric about the seed's value, each as far from it as the value is from the mean of the other seeds at
    the same shots: one degree of freedom, and a variance that is rather too large than too small.

    Args:
        scores: Score by seed, by (dataset, shots).

    Returns:
        Values and weight of each stratum, by dataset and seeds; weights sum to the number of (dataset, shots).
    """
    datasets: dict[str, list[Mapping[int, float]]] = {}
    for (dataset, _), by_seed in scores.items():
        datasets.setdefault(dataset, []).append(by_seed)
    strata: dict[StratumKey, tuple[list[float], float]] = {}
    for dataset, shots in datasets.items():
        seeds_by_shots: dict[tuple[int, ...], list[int]] = {}
        for seed in sorted({seed for by_seed in shots for seed in by_seed}):
            positions = tuple(position for position, by_seed in enumerate(shots) if seed in by_seed)
            seeds_by_shots.setdefault(positions, []).append(seed)
        for positions, seeds in seeds_by_shots.items():
            own = [shots[position] for position in positions]
            weights = [len(seeds) / len(by_seed) for by_seed in own]
            values = [fmean([by_seed[seed] for by_seed in own], weights) for seed in seeds]
            if len(seeds) == 1 and all(len(by_seed) > 1 for by_seed in own):
                (seed,), (value,) = seeds, values
                others = [fmean(score for other, score in by_seed.items() if other != seed) for by_seed in own]
                gap = value - fmean(others, weights)
                values = [value + gap, value - gap]
            strata[dataset, frozenset(seeds)] = (values, sum(weights))
    return strata


def _component(values: NDArray[np.float64], weight: float) -> VarianceComponent:
    return VarianceComponent(weight**2 * _variance(values) / values.size, values.size - 1)


def _variance(values: NDArray[np.float64]) -> float:
    scale = float(np.abs(values).max())
    if float(np.ptp(values)) <= ROUNDING * max(scale, 1e-300):
        return 0.0
    return float(values.var(ddof=1))


def episode_interval(accuracies: Iterable[float]) -> Estimate:
    """Return the mean over the episodes of one fitted learner, plus or minus 1.96 standard errors.

    The figure usual in few-shot learning (e.g. Snell et al. 2017, arXiv:1703.05175, section 3). It is the precision
    with which *this* learner was measured, and says nothing about the variation between training runs.

    Args:
        accuracies: Accuracy of each episode; the normal quantile needs hundreds of them.
    """
    values = np.asarray(tuple(accuracies), dtype=np.float64)
    estimate = mean_interval(values)
    if estimate.error is None:
        return estimate
    reach = 1.96 * estimate.error
    return replace(estimate, low=estimate.mean - reach, high=estimate.mean + reach)


def pooled_episode_half_width(half_widths: Iterable[float]) -> float:
    """Return the half-width of the mean of several seeds' episode means, each with its own half-width.

    The seeds' test episodes are sampled independently, so squared half-widths add up.

    Args:
        half_widths: Half-width of each seed's episode interval, at least one.

    Raises:
        ValueError: There is no half-width.
    """
    values = np.asarray(tuple(half_widths), dtype=np.float64)
    if values.size == 0:
        raise ValueError("there is no half-width to pool")
    return float(np.sqrt((values**2).sum()) / values.size)
