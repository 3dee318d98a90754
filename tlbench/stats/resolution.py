"""The smallest difference that so many seeds and datasets can show."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from scipy.optimize import brentq
from scipy.special import nctdtr, stdtrit

from tlbench.stats.contrasts import Contrast


def smallest_difference(error: float, dof: float, level: float = 0.95, power: float = 0.8, contrasts: int = 1) -> float:
    """Return the true difference that a two-sided t test finds with probability ``power``.

    By the noncentral t distribution. A difference found in the wrong direction is no success.

    Args:
        error: Standard error of the difference, in its unit.
        dof: Its degrees of freedom.
        level: One minus the rate of false alarms.
        power: Probability, between ``1 - level`` and 1.
        contrasts: Number of contrasts of the family; the test must hold against Bonferroni's correction for it.
    """
    needed = float(stdtrit(dof, 1.0 - (1.0 - level) / (2 * contrasts)))
    most = 2.0 * needed + 20.0
    while nctdtr(dof, most, needed) > 1.0 - power:
        most *= 2.0
    return error * float(brentq(lambda shift: float(nctdtr(dof, shift, needed)) - (1.0 - power), 0.0, most))


def resolution_floor(contrasts: Iterable[Contrast | None], level: float = 0.95, power: float = 0.8) -> float | None:
    """Return the median over contrasts of :func:`smallest_difference`; None where none has a standard error.

    Args:
        contrasts: One family, e.g. all rows of a board with the baseline.
        level: One minus the rate of false alarms over the family.
        power: Probability with which such a difference would be found.
    """
    known = [
        (contrast.estimate.error, contrast.estimate.dof)
        for contrast in contrasts
        if contrast is not None and contrast.estimate.error and contrast.estimate.dof
    ]
    if not known:
        return None
    return median(smallest_difference(error, dof, level, power, len(known)) for error, dof in known)
