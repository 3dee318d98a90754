"""How far seeds spread, and which single results lie far from their fellows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Generic

import numpy as np

from tlbench.stats.scores import Name, Scores

OUTLYING = 5.0
_PAIRS = 10
_NORMAL = 0.9538726  # the median of |x - y| of two draws of a normal distribution with standard deviation 1


@dataclass(frozen=True)
class Outlier(Generic[Name]):
    """A result far from its fellows.

    Attributes:
        key: Its stratum.
        seed: Its seed.
        value: The result.
        median: The median of its stratum.
        distance: How far it is from that, in robust standard deviations.
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

    The scale is the median of |x - y| over all pairs within strata, divided by what it is for a normal distribution:
    differences of pairs need no centre, and half of them may be spoilt (after Rousseeuw and Croux 1993,
    "Alternatives to the Median Absolute Deviation"). Fewer than ten pairs, or pairs of which most are equal, give no
    scale, and nothing is called an outlier. Calling is a hint to look, not a reason to leave a result out.

    Args:
        strata: Value by seed, by stratum; strata of like spread, e.g. the rows at one dataset and number of shots.

    Returns:
        The farthest first.
    """
    gaps = [abs(x - y) for by_seed in strata.values() for x, y in combinations(by_seed.values(), 2)]
    scale = median(gaps) / _NORMAL if len(gaps) >= _PAIRS else 0.0
    if scale <= 1e-12:
        return ()
    found = []
    for key, by_seed in strata.items():
        middle = median(by_seed.values()) if by_seed else 0.0
        for seed, value in by_seed.items():
            distance = abs(value - middle) / scale
            if distance > OUTLYING:
                found.append(Outlier(key, seed, value, middle, distance))
    return tuple(sorted(found, key=lambda each: -each.distance))
