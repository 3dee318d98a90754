"""The error of a mean, or of a paired difference, that is due to the finite size of test sets.

All seeds of a dataset are scored on one test set, so that averaging over seeds never reduces this error, and the spread
over seeds does not contain it. It is estimated from the correctness of single test examples, as the main effect of
examples in a two-way layout of seeds and examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.stats.error_mixture import ErrorSource

UnitScores = Mapping[tuple[str, str], Mapping[int, NDArray[np.floating[Any]]]]
"""Scores of the independent units of a test set (units,), by seed, by (dataset, shots); their mean is the score.

Units are the examples of a test set; in episodes, where classes return, the test classes.
"""

MANY_UNITS = 200
"""Number of units from which on the estimated error counts as known."""


def error_of_test_sets(units: UnitScores, cells: Mapping[tuple[str, str], Mapping[int, Any]]) -> ErrorSource | None:
    """Return the error of :func:`tlbench.stats.intervals.nested_mean` that finite test sets cause.

    Datasets have independent test sets, while the shots of one dataset share its test set.

    Args:
        units: Of one row, or differences of two.
        cells: The scores that are averaged, by seed, by (dataset, shots).

    Returns:
        The error; None where units of some of these cells are unknown, or are too few or of other sizes.
    """
    if not cells:
        return None
    by_dataset: dict[str, dict[int, list[tuple[NDArray[np.float64], float]]]] = {}
    for stratum, by_seed in cells.items():
        weight = 1.0 / (len(cells) * len(by_seed))
        known = units.get(stratum, {})
        for seed in by_seed:
            if seed not in known:
                return None
            by_dataset.setdefault(stratum[0], {}).setdefault(seed, []).append((np.asarray(known[seed]), weight))
    sources: list[ErrorSource] = []
    for seeds in by_dataset.values():
        if len({values.size for parts in seeds.values() for values, _ in parts}) != 1:
            return None
        weights = np.array([sum(weight for _, weight in parts) for parts in seeds.values()])
        sums = np.stack([sum(weight * values for values, weight in parts) for parts in seeds.values()])
        if sums.shape[1] < 2:
            return None
        sources.append(ErrorSource(_error(sums / weights[:, None], weights), _degrees_of_freedom(sums.sum(0))))
    return _sum(sources)


def difference_units(ours: UnitScores, theirs: UnitScores) -> UnitScores:
    """Return ours minus theirs where both have units, and as many."""
    found: dict[tuple[str, str], dict[int, NDArray[np.floating[Any]]]] = {}
    for stratum, by_seed in ours.items():
        for seed, values in by_seed.items():
            others = theirs.get(stratum, {}).get(seed)
            if others is not None and others.shape == values.shape:
                found.setdefault(stratum, {})[seed] = values - others
    return found


def _error(units: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the standard error of ``weights @ units.mean(1)`` over new test sets, seeds being held fixed.

    The variance over units of the weighted sum, less the part that stems from training runs: the interaction of seed
    and unit. With one seed the two cannot be separated, and the whole variance counts.

    Args:
        units: Scores (seeds, units).
        weights: Weight of each seed (seeds,).
    """
    seeds, count = units.shape
    variance = float((weights @ units).var(ddof=1))
    if seeds > 1:
        residuals = units - units.mean(0) - units.mean(1, keepdims=True) + units.mean()
        interaction = float((residuals**2).sum()) / ((seeds - 1) * (count - 1))
        variance -= interaction * float((weights**2).sum())
    return float((max(0.0, variance) / count) ** 0.5)


def _degrees_of_freedom(values: NDArray[np.float64]) -> float:
    """Return the degrees of freedom of a variance of values (units,): those of a normal sample, fewer with heavy tails.

    The variance of a variance is about ``(kurtosis - 1) / n`` of its square, which is ``2 / dof`` of a normal sample
    (B. L. Welch 1947, Biometrika 34:28, matches moments alike). Where a few units decide, as examples of a rare class
    do, it is known far less well than by the number of units.
    """
    centred = values - values.mean()
    variance = float((centred**2).mean())
    if variance == 0.0:
        return len(values) - 1
    kurtosis = float((centred**4).mean()) / variance**2
    return float(min(len(values) - 1, max(1.0, 2 * len(values) / max(kurtosis - 1, 1e-12))))


def _sum(sources: list[ErrorSource]) -> ErrorSource:
    """Return the error of a sum of independent parts; Satterthwaite's degrees of freedom, many count as known."""
    variances = np.array([source.error**2 for source in sources])
    total = float(variances.sum())
    if total == 0.0:
        return ErrorSource(0.0)
    dof = 1.0 / float((((variances / total) ** 2) / np.array([source.dof for source in sources])).sum())
    return ErrorSource(total**0.5, inf if dof >= MANY_UNITS else dof)
