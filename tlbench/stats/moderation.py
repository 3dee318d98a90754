"""Variances of contrasts, moderated by those of the other contrasts of their family.

With three seeds a variance has two degrees of freedom, and after a correction for many pairs its t test can find
nothing. The rows of one dataset spread alike, though not equally: each variance is averaged with the mean of its
stratum, which counts for as many degrees of freedom as the family's variances are alike (Smyth 2004, "Linear models and
empirical Bayes methods for assessing differential expression", section 4; the "moderated t" of limma).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma

from tlbench.stats.intervals import StratumKey, VarianceComponent
from tlbench.stats.scores import Name

Components = Mapping[StratumKey, VarianceComponent]

SHARED_ROW = 0.25
"""Correlation of the variances of two contrasts that share a row: the square of that of the contrasts, 1/2."""
_SMALLEST = 1e-6  # of a stratum's mean variance, in place of a variance of zero
_LEAST = 1e-3  # prior degrees of freedom below which there is nothing to moderate by


def moderated(family: Mapping[Name, Components], rows: int) -> dict[Name, dict[StratumKey, VarianceComponent]]:
    """Return the variance components of a family of contrasts, each moderated by the others of its stratum.

    The prior degrees of freedom are at most ``rows - 2``: those of the rows that a contrast does not see, counted once,
    however many seeds and datasets there are. So two rows are not moderated, and families of rows that spread very
    differently keep their level: in simulated families of equal methods whose spreads differ by a factor of 3 (one
    standard deviation of its logarithm), some pair of 3 to 12 rows is wrongly significant in at most 6%.

    Args:
        family: Components by stratum, by contrast.
        rows: Number of rows that the contrasts compare.
    """
    strata: dict[StratumKey, list[VarianceComponent]] = {}
    for components in family.values():
        for key, component in components.items():
            strata.setdefault(key, []).append(component)
    prior = _prior_dof(list(strata.values()), float(rows - 2))
    means = {key: float(np.mean([each.variance for each in own])) for key, own in strata.items()}
    return {
        name: {key: _moderate(each, means[key], prior) for key, each in components.items()}
        for name, components in family.items()
    }


def _moderate(component: VarianceComponent, mean: float, prior: float) -> VarianceComponent:
    dof = component.dof + prior
    return VarianceComponent((component.dof * component.variance + prior * mean) / dof, dof)


def _prior_dof(strata: list[list[VarianceComponent]], most: float) -> float:
    """Return the degrees of freedom for which the mean variance of a stratum counts; at most ``most``.

    Logarithms of the variances of a stratum spread by ``trigamma(dof / 2)`` through sampling, and by
    ``trigamma(prior / 2)`` through true differences.
    """
    spread = sampling = 0.0
    degrees = 0
    for own in strata:
        variances = np.array([each.variance for each in own])
        if len(own) < 2 or not variances.any():
            continue
        logs = np.log(np.maximum(variances, _SMALLEST * variances.mean()))
        spread += float(((logs - logs.mean()) ** 2).sum())
        sampling += (len(own) - 1) * float(np.mean([polygamma(1, each.dof / 2) for each in own]))
        degrees += len(own) - 1
    if degrees == 0 or most < _LEAST:
        return 0.0
    true = spread / degrees / (1.0 - SHARED_ROW) - sampling / degrees
    if true <= polygamma(1, most / 2):
        return most
    if true >= polygamma(1, _LEAST / 2):
        return 0.0
    return float(brentq(lambda dof: float(polygamma(1, dof / 2)) - true, _LEAST, most))
