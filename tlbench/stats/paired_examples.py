"""Tests on single test examples: exact paired tests on one test set, and the error due to the set's finite size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

CorrectAnswers = NDArray[np.bool_]


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two methods on the same test examples.

    Attributes:
        better: Number of units that ours gets right more often than theirs.
        worse: Number of units that theirs gets right more often than ours.
        tests: Number of units: examples, or episodes where the queries of one are grouped.
        difference: Accuracy of ours minus accuracy of theirs.
        p: Exact two-sided p-value of "neither is right more often".
    """

    better: int
    worse: int
    tests: int
    difference: float
    p: float


def mcnemar(ours: CorrectAnswers, theirs: CorrectAnswers, group: int = 1) -> McNemar:
    """Test whether two methods get different examples of one test set right.

    McNemar's test (1947) in its exact form: under the null hypothesis, an example that only one of two models gets
    right is as likely to be either's, so the count is binomial. With several seeds the answers to one example are not
    independent: an example counts for the method that gets it right with more seeds, and not at all where both do so
    equally often, which makes it a sign test over examples. The claim is about these trained models and new test
    examples; other seeds may differ.

    Args:
        ours: Whether each answer is right (seeds, tests); a row is a trained model.
        theirs: The same for the other method (seeds, tests), trained on the same samples.
        group: Number of consecutive tests that form one unit, such as the queries of an episode. Where each seed has
            test episodes of its own, concatenate them into a single row.

    Raises:
        ValueError: The shapes differ, or the tests are no multiple of the group.
    """
    if ours.shape != theirs.shape or ours.ndim != 2:
        raise ValueError(f"both need one shape (seeds, tests), not {ours.shape} and {theirs.shape}")
    gain = ours.astype(np.int64) - theirs.astype(np.int64)
    units = _grouped(gain, group).sum((0, 2))
    better, worse = int((units > 0).sum()), int((units < 0).sum())
    p = min(1.0, 2.0 * float(bdtr(min(better, worse), better + worse, 0.5)))
    return McNemar(better, worse, len(units), float(gain.mean()), p)


def finite_test_error(values: NDArray[Any], group: int = 1) -> float:
    """Return the standard error of a mean that is due to the finite test set; more seeds do not reduce it.

    The variance over examples of the mean answer to an example, less the part that stems from training runs (the
    interaction of seed and example in a two-way layout), divided by the number of examples. With one seed the two
    cannot be separated: the whole variance counts, which for accuracy is ``p (1 - p)``.

    Args:
        values: Whether each answer is right, or the difference ours minus theirs (seeds, tests).
        group: Number of consecutive tests that form one unit, such as the queries of an episode.

    Raises:
        ValueError: There are fewer than two units, or the tests are no multiple of the group.
    """
    units = _grouped(np.asarray(values, dtype=np.float64), group).mean(2)
    seeds, count = units.shape
    if count < 2:
        raise ValueError("a single test example has no standard error")
    means = units.mean(0)
    variance = float(means.var(ddof=1))
    if seeds > 1:
        residuals = units - means - units.mean(1, keepdims=True) + units.mean()
        variance -= float((residuals**2).sum()) / ((seeds - 1) * (count - 1)) / seeds
    return float((max(0.0, variance) / count) ** 0.5)


def _grouped(values: NDArray[Any], group: int) -> NDArray[Any]:
    seeds, tests = values.shape
    if tests % group:
        raise ValueError(f"{tests} tests do not split into groups of {group}")
    return values.reshape(seeds, tests // group, group)
