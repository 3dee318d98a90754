"""The smallest true difference that a test over the given seeds and datasets detects reliably."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from scipy.optimize import brentq
from scipy.special import nctdtr, stdtrit

from tlbench.stats.contrasts import Contrast


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
        (contrast.estimate.error, contrast.estimate.dof)
        for contrast in contrasts
        if contrast is not None and contrast.estimate.error and contrast.estimate.dof
    ]
    if not known:
        return None
    return median(smallest_difference(error, dof, level, power, len(known)) for error, dof in known)
