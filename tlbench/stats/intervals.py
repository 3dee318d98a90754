"""Intervals of a mean: over the seeds of one stratum, over several strata, over the episodes of one seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from scipy.special import stdtrit

from tlbench.stats.scores import Scores, dataset_means

Block = tuple[str, frozenset[int]]
"""A dataset and those of its seeds that the same shots have."""

ROUNDING = 1e-12
"""A spread below this share of the values is rounding, not spread."""


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


@dataclass(frozen=True, slots=True)
class Part:
    """What one stratum adds to the variance of a mean, and the degrees of freedom with which it is known."""

    variance: float
    freedom: int


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
    parts = [_part(array, float(share)) for array, share in zip(arrays, weight, strict=True)]
    dof = satterthwaite(parts)
    if dof is None:
        return Estimate(mean, n, error=0.0, low=mean, high=mean)
    error = sum(part.variance for part in parts) ** 0.5
    return with_dof(Estimate(mean, n, error), dof, level)


def satterthwaite(parts: Iterable[Part]) -> float | None:
    """Return the degrees of freedom of a sum of independent variances; None where all are zero."""
    known = tuple(parts)
    total = sum(part.variance for part in known)
    if total == 0.0:
        return None
    # squaring shares, not variances, which may be tiny
    return 1.0 / sum((part.variance / total) ** 2 / part.freedom for part in known)


def with_dof(estimate: Estimate, dof: float, level: float) -> Estimate:
    """Return an estimate with the t interval that its standard error has at these degrees of freedom."""
    if estimate.error is None:
        return estimate
    reach = float(stdtrit(dof, 0.5 + level / 2)) * estimate.error
    return replace(estimate, dof=dof, low=estimate.mean - reach, high=estimate.mean + reach)


def nested_mean(scores: Scores, level: float = 0.95) -> Estimate:
    """Return the mean over (dataset, shots) with an interval that knows that the shots of one dataset are nested.

    The 1-shot draw of a seed is part of its 5-shot draw, so the shots of a dataset rise and fall together with the
    seed and are no independent strata. Scores are therefore averaged over shots seed by seed first; what is left are
    strata of seeds that share no draw (see :func:`blocks`).

    Args:
        scores: Score by seed, by (dataset, shots).
        level: Coverage of the interval.

    Raises:
        ValueError: There is no score, or one is not finite.
    """
    found = blocks(scores)
    estimate = stratified_mean([values for values, _ in found.values()], level, [each for _, each in found.values()])
    return replace(estimate, n=sum(len(seeds) for _, seeds in found))


def variance_parts(scores: Scores) -> dict[Block, Part]:
    """Return what each stratum adds to the variance of :func:`nested_mean`, by dataset and seeds.

    Args:
        scores: Score by seed, by (dataset, shots).

    Returns:
        The parts; none where some shots have a single seed, which leaves the variance unknown.
    """
    found = blocks(scores)
    if any(len(values) < 2 for values, _ in found.values()):
        return {}
    total = sum(weight for _, weight in found.values())
    return {key: _part(np.array(values), weight / total) for key, (values, weight) in found.items()}


def across_datasets(scores: Scores, level: float = 0.95) -> Estimate:
    """Return the mean over datasets with an interval for *new* datasets of the same kind.

    Student's t over the datasets' means, with one degree of freedom fewer than there are datasets: seeds and shots of
    one dataset are no further datasets. One dataset gives no interval.

    Args:
        scores: Score by seed, by (dataset, shots); each dataset weighs the same.
        level: Coverage of the interval.

    Raises:
        ValueError: There is no score, or one is not finite.
    """
    return mean_interval(dataset_means(scores).values(), level)


def blocks(scores: Scores) -> dict[Block, tuple[list[float], float]]:
    """Return independent strata: values that are alike, and what their mean weighs in that over (dataset, shots).

    A seed's value is the mean of its scores over the shots that have the seed, each weighing as much as a single seed
    of these shots does. Seeds of a dataset that the same shots have form a stratum: one of all seeds where all shots
    have the same ones, one for each number of shots where no two share a seed.

    A seed that is alone in its stratum, as where a single cell is missing, tells nothing of its spread by itself. It
    stands there twice, as far above and below its value as that is from what the other seeds of its shots lead one to
    expect: that is one degree of freedom, and rather too much variance.

    Args:
        scores: Score by seed, by (dataset, shots).
    """
    datasets: dict[str, list[Mapping[int, float]]] = {}
    for (dataset, _), by_seed in scores.items():
        datasets.setdefault(dataset, []).append(by_seed)
    found: dict[Block, tuple[list[float], float]] = {}
    for dataset, shots in datasets.items():
        alike: dict[tuple[int, ...], list[int]] = {}
        for seed in sorted({seed for by_seed in shots for seed in by_seed}):
            alike.setdefault(tuple(place for place, by_seed in enumerate(shots) if seed in by_seed), []).append(seed)
        for places, seeds in alike.items():
            own = [shots[place] for place in places]
            weights = [len(seeds) / len(by_seed) for by_seed in own]
            values = [fmean([by_seed[seed] for by_seed in own], weights) for seed in seeds]
            if len(seeds) == 1 and all(len(by_seed) > 1 for by_seed in own):
                (seed,), (value,) = seeds, values
                others = [fmean(score for other, score in by_seed.items() if other != seed) for by_seed in own]
                gap = value - fmean(others, weights)
                values = [value + gap, value - gap]
            found[dataset, frozenset(seeds)] = (values, sum(weights))
    return found


def _part(values: np.ndarray, weight: float) -> Part:
    return Part(weight**2 * _variance(values) / values.size, values.size - 1)


def _variance(values: np.ndarray) -> float:
    scale = float(np.abs(values).max())
    if float(np.ptp(values)) <= ROUNDING * max(scale, 1e-300):
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
