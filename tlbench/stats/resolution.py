"""What a number of seeds can show: the smallest difference that a test detects, and the seeds that a claim needs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import inf
from statistics import median

from scipy.optimize import brentq
from scipy.special import nctdtr, stdtrit

from tlbench.stats.contrasts import Contrast
from tlbench.stats.error_mixture import ErrorSource, half_width
from tlbench.stats.intervals import Estimate


def smallest_difference(error: float, dof: float, level: float = 0.95, power: float = 0.8, contrasts: int = 1) -> float:
    """Return the true difference that a two-sided t test detects with probability ``power``.

    By the noncentral t distribution. Significance in the wrong direction does not count as detection.

    Args:
        error: Standard error of the difference, in its unit.
        dof: Its degrees of freedom.
        level: One minus the rate of false positives.
        power: Probability of detection, between ``1 - level`` and 1.
        contrasts: Number of contrasts of the family, for Bonferroni's correction.
    """
    critical = float(stdtrit(dof, 1.0 - (1.0 - level) / (2 * contrasts)))
    upper = 2.0 * critical + 20.0
    while nctdtr(dof, upper, critical) > 1.0 - power:
        upper *= 2.0
    return error * float(brentq(lambda shift: float(nctdtr(dof, shift, critical)) - (1.0 - power), 0.0, upper))


def resolution_floor(contrasts: Iterable[Contrast | None], level: float = 0.95, power: float = 0.8) -> float | None:
    """Return the median over contrasts of :func:`smallest_difference`; None where none has a standard error.

    Args:
        contrasts: One family, e.g. the contrasts of all rows of a leaderboard with the baseline.
        level: One minus the family-wise rate of false positives.
        power: Probability of detection.
    """
    known = [
        _total(contrast.estimate.error, contrast.estimate.dof, contrast.estimate.tests or ErrorSource(0.0))
        for contrast in contrasts
        if contrast is not None and contrast.estimate.error and contrast.estimate.dof
    ]
    if not known:
        return None
    return median(smallest_difference(error, dof, level, power, len(known)) for error, dof in known)


def _total(error: float, dof: float, tests: ErrorSource) -> tuple[float, float]:
    """Return the error of seeds and test sets together, with Satterthwaite's degrees of freedom."""
    total = (error**2 + tests.error**2) ** 0.5
    return total, 1.0 / ((error / total) ** 4 / dof + (tests.error / total) ** 4 / tests.dof)


MOST_SEEDS = 100
"""Most seeds that :func:`seeds_needed` considers."""


def seeds_needed(estimate: Estimate, seeds: int, margin: float, contrasts: int = 1, level: float = 0.95) -> int | None:
    """Return how many seeds would be expected to show that a difference is above minus the margin.

    The measured difference and spread are taken for the true ones: with more seeds the error over seeds and the
    quantile shrink, while the error of the finite test set stays.

    Args:
        estimate: The difference, at its number of seeds.
        seeds: That number, of the stratum that has fewest.
        margin: A fraction of 1.
        contrasts: Number of contrasts of the family, for Bonferroni's correction.
        level: Simultaneous coverage.

    Returns:
        The number; None where :data:`MOST_SEEDS` would not be expected to be enough, or nothing is known of the error.
    """
    if estimate.error is None or estimate.mean <= -margin or seeds < 2:
        return None
    tests = estimate.tests or ErrorSource(0.0)
    alpha = (1.0 - level) / contrasts

    def shown(number: int) -> bool:
        ratio = number / seeds
        dof = inf if estimate.dof is None else estimate.dof * (number - 1) / (seeds - 1)
        over_seeds = ErrorSource((estimate.error or 0.0) / ratio**0.5, dof)
        return estimate.mean - half_width(over_seeds, tests, 1.0 - alpha) > -margin

    enough = bisect_left(range(seeds + 1, MOST_SEEDS + 1), True, key=shown) + seeds + 1
    return enough if enough <= MOST_SEEDS else None
