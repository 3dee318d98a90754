"""The error of finite test sets: binomial by hand, against simulated test sets, and what shots and seeds do to it."""

from __future__ import annotations

import numpy as np
import pytest

from tlbench.stats.error_mixture import ErrorSource
from tlbench.stats.finite_test_set import UnitScores, difference_units, error_of_test_sets

RNG = np.random.default_rng(0)


def error(units: UnitScores) -> ErrorSource:
    found = error_of_test_sets(units, units)
    assert found is not None
    return found


def test_one_seeds_error_is_the_binomial_one() -> None:
    right = RNG.uniform(size=400) < 0.8
    p = right.mean()
    assert error({("d", "5"): {0: right.astype(float)}}).error == pytest.approx((p * (1 - p) / 399) ** 0.5)


def test_no_number_of_seeds_averages_the_test_set_away() -> None:
    """Test sets of 200 drawn from a world of examples; the error is the spread of the mean over such sets."""
    generator = np.random.default_rng(5)
    chances = generator.beta(0.5, 0.3, size=(600, 200))
    truth = chances.mean(1).std()
    for seeds in (3, 30):
        estimates = [
            error({("d", "5"): dict(enumerate((generator.uniform(size=(seeds, 200)) < each).astype(float)))}).error
            for each in chances[:100]
        ]
        assert np.mean(estimates) == pytest.approx(truth, rel=0.06)


def test_a_seed_that_is_good_on_all_examples_is_no_noise_of_examples() -> None:
    chances = np.linspace(0.2, 0.8, 500)
    steady = {("d", "5"): dict.fromkeys(range(4), chances)}
    shifted = {("d", "5"): {seed: chances + shift for seed, shift in enumerate((-0.1, 0.0, 0.1, 0.05))}}
    assert error(shifted).error == pytest.approx(error(steady).error)
    assert error(steady).error == pytest.approx(chances.std(ddof=1) / 500**0.5)


def test_shots_share_a_test_set_and_datasets_do_not() -> None:
    chances = np.linspace(0.2, 0.8, 500)
    one = error({("d", "5"): {0: chances, 1: chances}}).error
    assert error({("d", shots): {0: chances, 1: chances} for shots in ("1", "5")}).error == pytest.approx(one)
    two = {(dataset, "5"): {0: chances, 1: chances} for dataset in ("d", "e")}
    assert error(two).error == pytest.approx(one / 2**0.5)


def test_few_units_have_few_degrees_of_freedom() -> None:
    classes = {("d", "5"): {seed: RNG.uniform(size=6) for seed in range(3)}}
    assert error(classes).dof == pytest.approx(5)
    assert error({("d", "5"): {0: RNG.uniform(size=300)}}).dof == float("inf")


def test_unknown_answers_leave_the_error_unknown() -> None:
    units = {("d", "5"): {0: np.ones(9), 1: np.zeros(9)}}
    assert error_of_test_sets(units, {("d", "5"): {0: 1.0, 1: 0.0, 2: 0.5}}) is None
    assert error_of_test_sets(units, {("d", "5"): {0: 1.0}, ("e", "5"): {0: 1.0}}) is None
    assert error_of_test_sets({("d", "5"): {0: np.ones(9), 1: np.zeros(8)}}, units) is None
    assert error_of_test_sets(units, {}) is None


def test_differences_cancel_what_two_rows_share() -> None:
    hardness = np.tile(RNG.uniform(size=400), (3, 1))
    rows = [{("d", "5"): dict(enumerate((hardness < bound).astype(float)))} for bound in (0.7, 0.72)]
    paired = error(difference_units(*rows)).error
    assert paired < 0.5 * error(rows[0]).error
    assert difference_units(rows[0], {("d", "5"): {0: np.ones(3)}}) == {}
