"""Exact McNemar tests against statsmodels and scipy; the finite test set's error against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar as reference

from tlbench.stats.paired_examples import finite_test_error, mcnemar

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_one_seed_is_statsmodels_exact_test(shift: float) -> None:
    ours, theirs = RNG.uniform(size=(1, 90)) < 0.6 + shift, RNG.uniform(size=(1, 90)) < 0.6
    table = [[(x & y).sum() for y in (theirs, ~theirs)] for x in (ours, ~ours)]
    found = mcnemar(ours, theirs)
    assert found.p == pytest.approx(reference(table, exact=True).pvalue)
    assert (found.better, found.worse, found.tests) == (table[0][1], table[1][0], 90)
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())


def test_several_seeds_are_a_sign_test_over_examples() -> None:
    ours = np.array([[1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 0], [1, 0, 1, 1, 1, 0]], bool)
    theirs = np.array([[0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]], bool)
    found = mcnemar(ours, theirs)  # gains by example: 3, 0, 0, 1, 3, -1
    assert (found.better, found.worse, found.tests) == (3, 1, 6)
    assert found.p == pytest.approx(scipy.stats.binomtest(1, 4).pvalue)
    assert found.difference == pytest.approx(6 / 18)


def test_the_queries_of_an_episode_are_one_unit() -> None:
    ours = np.array([[1, 1, 0, 0, 0, 1]], bool)
    theirs = np.array([[0, 0, 1, 0, 0, 1]], bool)
    found = mcnemar(ours, theirs, group=3)
    assert (found.better, found.worse, found.tests) == (1, 0, 2)


def test_equal_methods_have_p_one_and_bad_shapes_are_refused() -> None:
    bits = RNG.uniform(size=(2, 9)) < 0.5
    assert mcnemar(bits, bits).p == 1.0
    with pytest.raises(ValueError, match="shape"):
        mcnemar(bits, bits[:, :8])
    with pytest.raises(ValueError, match="groups of 2"):
        mcnemar(bits, bits, group=2)


def test_one_method_under_two_names_is_rarely_significant_however_many_seeds() -> None:
    """Examples differ in hardness, so answers of seeds agree; adding up all seeds would alarm far too often."""
    generator = np.random.default_rng(3)
    alarms, naive = 0, 0
    for _ in range(400):
        hardness = generator.beta(0.4, 0.4, size=150)
        whims = generator.normal(0, 0.35, size=(2, 150))  # what a method makes of an example, the same for all seeds
        chances = np.clip(hardness + whims, 0, 1)
        ours, theirs = (generator.uniform(size=(5, 150)) < chance for chance in chances)
        alarms += mcnemar(ours, theirs).p < 0.05
        naive += mcnemar(ours.reshape(1, -1), theirs.reshape(1, -1)).p < 0.05
    assert alarms / 400 <= 0.05
    assert naive / 400 > 0.15


def test_one_seeds_error_is_the_binomial_one() -> None:
    bits = RNG.uniform(size=(1, 400)) < 0.8
    p = bits.mean()
    assert finite_test_error(bits) == pytest.approx((p * (1 - p) / 399) ** 0.5)
    with pytest.raises(ValueError, match="single"):
        finite_test_error(bits[:, :4], group=4)


def test_no_number_of_seeds_averages_the_test_set_away() -> None:
    """Test sets of 200 drawn from a world of examples; the error is the spread of the mean over such sets."""
    generator = np.random.default_rng(5)
    chances = generator.beta(0.5, 0.3, size=(600, 200))
    truth = chances.mean(1).std()
    for seeds in (3, 30):
        estimates = [finite_test_error(generator.uniform(size=(seeds, 200)) < each) for each in chances[:100]]
        assert np.mean(estimates) == pytest.approx(truth, rel=0.06)


def test_a_seed_that_is_good_on_all_examples_is_no_noise_of_examples() -> None:
    chances = np.linspace(0.2, 0.8, 500)
    steady = np.tile(chances, (4, 1))
    assert finite_test_error(steady + np.array([[-0.1], [0.0], [0.1], [0.05]])) == pytest.approx(
        finite_test_error(steady)
    )


def test_episodes_are_the_units() -> None:
    episodes = RNG.uniform(size=(1, 50, 1)) < 0.5
    queries = np.broadcast_to(episodes, (1, 50, 6)).reshape(1, 300)
    assert finite_test_error(queries, group=6) == pytest.approx(finite_test_error(episodes.reshape(1, 50)))
