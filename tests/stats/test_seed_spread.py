"""Seed spread in closed form; outliers by hand and by their rate among well-behaved seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from tlbench.stats.seed_spread import outliers, seed_spread


def test_spread_is_pooled_within_strata() -> None:
    one, two = [0.1, 0.2, 0.6], [0.8, 0.9]
    scores = {("a", "1"): dict(enumerate(one)), ("b", "1"): dict(enumerate(two)), ("c", "1"): {0: 0.5}}
    expected = (2 * np.var(one, ddof=1) + np.var(two, ddof=1)) / 3
    assert seed_spread(scores) == pytest.approx(expected**0.5)
    assert seed_spread({("a", "1"): {0: 0.5}}) is None


def test_a_collapsed_seed_is_found_and_its_fellows_are_not() -> None:
    (found,) = outliers({"a": {0: 0.80, 1: 0.82, 2: 0.10, 3: 0.81, 4: 0.79}, "b": {0: 0.60, 1: 0.62, 2: 0.61}})
    assert (found.key, found.seed, found.value, found.median) == ("a", 2, 0.10, 0.80)
    assert found.distance > 20


def test_three_seeds_of_several_rows_are_enough() -> None:
    rows = {
        name: {0: level, 1: level + 0.01, 2: level + 0.02}
        for name, level in zip("abcd", (0.5, 0.6, 0.7, 0.8), strict=True)
    }
    assert outliers(rows) == ()
    rows["c"][1] = 0.2
    assert [(each.key, each.seed) for each in outliers(rows)] == [("c", 1)]


def test_the_scale_is_the_standard_deviation_of_normal_seeds() -> None:
    values = np.random.default_rng(1).normal(0, 0.03, 600).tolist()
    spoilt = dict(enumerate([*values, 1.0, 2.0]))
    farthest, second = outliers({"a": spoilt})
    assert farthest.distance == pytest.approx(2.0 / 0.03, rel=0.06)
    assert (farthest.seed, second.seed) == (601, 600)
    assert 2**0.5 * norm.ppf(0.75) == pytest.approx(0.9538726)


def test_too_few_or_equal_seeds_call_nothing() -> None:
    assert outliers({"a": {0: 0.8, 1: 0.8, 2: 0.1}}) == ()
    assert outliers({"a": dict.fromkeys(range(9), 0.5) | {9: 0.1}}) == ()
    assert outliers({}) == ()


def test_well_behaved_seeds_are_rarely_called() -> None:
    """Four rows of five seeds: fewer than one value in a hundred."""
    generator = np.random.default_rng(2)
    called = 0
    for _ in range(300):
        values = generator.normal(0.7, 0.02, (4, 5))
        called += len(outliers({row: dict(enumerate(seeds)) for row, seeds in enumerate(values.tolist())}))
    assert called / (300 * 20) < 0.01
