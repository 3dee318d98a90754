"""Two methods on the same units of one test set: examples, or test classes in episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr


@dataclass(frozen=True)
class McNemar:
    """Two methods on the same units.

    Attributes:
        better: Number of units on which ours scores higher, summed over its models.
        worse: Number of units on which theirs does.
        units: Number of units.
        difference: Mean score of ours minus that of theirs.
        p: Exact two-sided p-value of "neither of two trained models is right more often"; None where a side has several
            models or units are no single examples.
    """

    better: int
    worse: int
    units: int
    difference: float
    p: float | None


def mcnemar(ours: NDArray[Any], theirs: NDArray[Any]) -> McNemar:
    """Count the units that one of two methods does better on, and test two trained models by McNemar's test (1947).

    The test in its exact form: under the null hypothesis, an example that only one of two models gets right is as
    likely to be either's, so the count is binomial. Its claim is about these two models and new examples. It says
    nothing of other seeds, so that there is none where a side has several models: differences between methods are
    tested by :func:`tlbench.stats.contrasts.paired_contrast`, which knows both sources of error.

    Args:
        ours: Score of each unit (models, units), 1 for a right answer to an example and 0 for a wrong one.
        theirs: The same of the other method, of models that were trained on the same samples.

    Raises:
        ValueError: The shapes differ.
    """
    if ours.shape != theirs.shape or ours.ndim != 2:
        raise ValueError(f"both need one shape (models, units), not {ours.shape} and {theirs.shape}")
    gain = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    sums = gain.sum(0)
    better, worse = int((sums > 0).sum()), int((sums < 0).sum())
    exact = len(gain) == 1 and bool(np.isin([ours, theirs], (0, 1)).all())
    p = min(1.0, 2.0 * float(bdtr(min(better, worse), better + worse, 0.5))) if exact else None
    return McNemar(better, worse, gain.shape[1], float(gain.mean()), p)
