"""Standard deviation over seeds, and outliers among the results of one stratum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Generic

import numpy as np

from tlbench.stats.scores import Name, Scores

OUTLYING = 5.0
"""Robust standard deviations from the median beyond which a result is an outlier."""

_MIN_PAIRS = 10
_NORMAL_MEDIAN = 0.9538726  # median of |x - y| of two standard normal variables


@dataclass(frozen=True)
class Outlier(Generic[Name]):
    """A result far from the others of its stratum.

    Attributes:
        key: Its stratum.
        seed: Its seed.
        value: The result.
        median: The median of its stratum.
        distance: Distance from the median, in robust standard deviations.
    """

    key: Name
    seed: int
    value: float
    median: float
    distance: float


def seed_spread(scores: Scores) -> float | None:
    """Return the standard deviation over seeds within (dataset, shots), pooled over these; None without two seeds.

    Args:
        scores: Score by seed, by (dataset, shots).
    """
    several = [np.array(list(by_seed.values())) for by_seed in scores.values() if len(by_seed) > 1]
    if not several:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    return float((squares / sum(len(values) - 1 for values in several)) ** 0.5)


def outliers(strata: Mapping[Name, Mapping[int, float]]) -> tuple[Outlier[Name], ...]:
    """Return the results that lie more than :data:`OUTLYING` robust standard deviations from their stratum's median.

    The scale is the median of |x - y| over all pairs within strata, divided by its value for a standard normal
    distribution: differences of pairs need no estimate of location, and the median tolerates up to half of them being
    corrupted (after Rousseeuw and Croux 1993, "Alternatives to the Median Absolute Deviation"). With fewer than ten
    pairs, or where most pairs are equal, the scale is unknown and there are no outliers. An outlier is a hint to look
    at a result, not a reason to exclude it.

    Args:
        strata: Value by seed, by stratum; strata of similar spread, e.g. the rows at one dataset and number of shots.

    Returns:
        The outliers, by descending distance.
    """
    gaps = [abs(x - y) for by_seed in strata.values() for x, y in combinations(by_seed.values(), 2)]
    scale = median(gaps) / _NORMAL_MEDIAN if len(gaps) >= _MIN_PAIRS else 0.0
    if scale <= 1e-12:
        return ()
    outlying = []
    for key, by_seed in strata.items():
        middle = median(by_seed.values()) if by_seed else 0.0
        for seed, value in by_seed.items():
            distance = abs(value - middle) / scale
            if distance > OUTLYING:
                outlying.append(Outlier(key, seed, value, middle, distance))
    return tuple(sorted(outlying, key=lambda each: -each.distance))
