"""Moderated variances: limits by hand, and the level of all pairs of equal methods whose seeds spread unlike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

from suites import by_dataset
from tlbench.stats.intervals import VarianceComponent
from tlbench.stats.moderation import SHARED_ROW, moderated
from tlbench.stats.pairwise import all_pairs

KEY = ("d", frozenset(range(3)))


def family(*variances: float) -> dict[int, dict[tuple[str, frozenset[int]], VarianceComponent]]:
    return {number: {KEY: VarianceComponent(variance, 2)} for number, variance in enumerate(variances)}


def test_equal_variances_count_for_as_many_degrees_as_there_are_other_rows() -> None:
    found = moderated(family(2.0, 2.0, 2.0), rows=4)
    assert {each[KEY] for each in found.values()} == {VarianceComponent(2.0, 4.0)}


def test_two_rows_have_nothing_to_be_moderated_by() -> None:
    assert moderated(family(2.0), rows=2) == family(2.0)


def test_variances_that_differ_widely_stay_almost_as_they_are() -> None:
    found = moderated(family(1e-4, 1.0, 1e4), rows=4)
    assert found[0][KEY].dof < 2.5
    assert found[0][KEY].variance / found[2][KEY].variance < 0.1


def test_between_the_limits_the_spread_of_logarithms_says_how_alike_variances_are() -> None:
    variances = (0.2, 0.5, 1.0, 4.0, 9.0, 12.0)
    spread = np.var(np.log(variances), ddof=1) / (1 - SHARED_ROW)
    prior = moderated(family(*variances), rows=20)[0][KEY].dof - 2
    assert polygamma(1, prior / 2) == pytest.approx(spread - polygamma(1, 1.0))
    expected = (2 * 0.2 + prior * np.mean(variances)) / (2 + prior)
    assert moderated(family(*variances), rows=20)[0][KEY].variance == pytest.approx(expected)


def test_eight_rows_and_three_seeds_are_told_apart() -> None:
    """Seven points apart with a spread of one: each pair's own two degrees of freedom would need sixteen."""
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        levels = np.array([0.7] + [0.63] * 7)
        scores = levels[:, None] + generator.normal(0, 0.01, (8, 3))
        pairs = all_pairs({row: by_dataset(scores[row][None]) for row in range(8)}).pairs
        found += all(pairs[0, row].verdict == 1 for row in range(1, 8))
    assert found >= 36


@pytest.mark.parametrize("rows", [3, 5, 8])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_equal_methods_are_rarely_told_apart(rows: int, spread: float) -> None:
    """400 suites of three seeds; 5% and two standard errors of 400."""
    generator = np.random.default_rng(2)
    alarms = 0
    for _ in range(400):
        deviations = 0.01 * np.exp(generator.normal(0, spread, (rows, 1)))
        scores = 0.7 + generator.normal(0, 0.02, 3) + generator.normal(0, 1, (rows, 3)) * deviations
        pairwise = all_pairs({row: by_dataset(scores[row][None]) for row in range(rows)})
        alarms += any(pair.verdict for pair in pairwise.pairs.values())
    assert alarms / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
