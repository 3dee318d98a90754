"""Intervals against scipy.stats, closed forms and simulated coverage."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.stats.intervals import (
    episode_interval,
    mean_interval,
    nested_mean,
    pooled_episode_half_width,
    stratified_mean,
)


def test_mean_interval_is_student_t() -> None:
    values = [0.81, 0.84, 0.79, 0.90, 0.86]
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    estimate = mean_interval(values)
    assert (estimate.n, estimate.dof) == (5, pytest.approx(4))
    assert (estimate.low, estimate.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_by_hand_three_values() -> None:
    estimate = mean_interval([1.0, 2.0, 3.0])
    reach = 4.302652729911275 * (1 / 3) ** 0.5  # t quantile .975 with 2 degrees of freedom
    assert estimate.mean == pytest.approx(2.0)
    assert estimate.high == pytest.approx(2.0 + reach)
    assert estimate.low == pytest.approx(2.0 - reach)


def test_single_value_has_no_interval() -> None:
    estimate = mean_interval([0.5])
    assert (estimate.mean, estimate.n) == (0.5, 1)
    assert estimate.low is estimate.high is estimate.error is estimate.dof is None


def test_values_that_do_not_vary_have_an_interval_of_no_width() -> None:
    estimate = mean_interval([0.1 + 0.2, 0.3, 0.3])  # differ in the last bit only
    assert estimate.error == 0.0
    assert estimate.low == estimate.high == estimate.mean
    assert estimate.dof is None


@pytest.mark.parametrize("bad", [[], [0.5, float("nan")], [float("inf"), 0.1]])
def test_refuses_values_without_a_mean(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(bad)


def test_two_strata_are_welch() -> None:
    a, b = [0.80, 0.83, 0.86, 0.81], [0.40, 0.55, 0.47]
    # (mean a + mean b) / 2 is half of "mean a - mean(-b)", whose interval is Welch's two-sample one
    expected = scipy.stats.ttest_ind(a, [-x for x in b], equal_var=False).confidence_interval(0.95)
    estimate = stratified_mean([a, b])
    assert estimate.low == pytest.approx(expected.low / 2)
    assert estimate.high == pytest.approx(expected.high / 2)


def test_strata_weigh_the_same_whatever_their_size() -> None:
    assert stratified_mean([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0]]).mean == 0.5


def test_a_stratum_with_one_value_leaves_no_interval() -> None:
    estimate = stratified_mean([[0.2, 0.3], [0.9]])
    assert estimate.mean == pytest.approx((0.25 + 0.9) / 2)
    assert estimate.low is None


def test_tiny_variances_do_not_underflow() -> None:
    tiny = [1e-160, 2e-160, 4e-160]
    big = [1.0, 2.0, 4.0]
    assert stratified_mean([tiny, tiny]).dof == pytest.approx(stratified_mean([big, big]).dof)


def test_shots_of_a_dataset_are_averaged_seed_by_seed_and_weigh_what_went_into_them() -> None:
    scores = {
        ("digits", "1"): {0: 0.2, 1: 0.4, 2: 0.3},
        ("digits", "5"): {0: 0.6, 1: 0.9, 2: 0.6},
        ("glyphs", "5"): {0: 0.8, 1: 0.7},
    }
    estimate = nested_mean(scores)
    by_seed = [0.4, 0.65, 0.45]
    expected = stratified_mean([by_seed, [0.8, 0.7]], weights=[2, 1])
    assert estimate == expected
    assert estimate.mean == pytest.approx(np.mean([0.3, 0.7, 0.75]))
    error = np.sqrt((2 / 3) ** 2 * np.var(by_seed, ddof=1) / 3 + (1 / 3) ** 2 * 0.005 / 2)
    assert estimate.error == pytest.approx(error)


def test_shots_with_other_seeds_are_strata_of_the_seeds_that_they_share() -> None:
    one, five = {0: 0.2, 1: 0.4, 2: 0.3, 3: 0.5, 4: 0.1}, {0: 0.6, 1: 0.9, 2: 0.7}
    estimate = nested_mean({("digits", "1"): one, ("digits", "5"): five})
    assert estimate.mean == pytest.approx((0.3 + 2.2 / 3) / 2), "every number of shots weighs the same"
    both = [one[seed] / 10 + five[seed] / 6 for seed in five]  # what each seed adds to the mean
    alone = [one[seed] / 10 for seed in (3, 4)]
    variances = 3 * np.var(both, ddof=1), 2 * np.var(alone, ddof=1)
    assert estimate.error == pytest.approx(sum(variances) ** 0.5)
    assert estimate.dof == pytest.approx(sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 1))
    assert estimate.n == 5


def test_a_missing_cell_costs_precision_and_not_the_interval() -> None:
    whole = {0: 0.2, 1: 0.4, 2: 0.3}
    estimate = nested_mean({("digits", "1"): whole, ("digits", "5"): {0: 0.6, 1: 0.9}})
    both = [whole[seed] / 6 + score / 4 for seed, score in ((0, 0.6), (1, 0.9))]
    odd = (0.3 - 0.3) / 6  # seed 2 has what seeds 0 and 1 lead one to expect
    assert estimate.error == pytest.approx((2 * np.var(both, ddof=1) + odd**2) ** 0.5)
    assert (estimate.n, estimate.mean) == (3, pytest.approx((0.3 + 0.75) / 2))
    far = nested_mean({("digits", "1"): whole | {2: 0.9}, ("digits", "5"): {0: 0.6, 1: 0.9}})
    assert far.error == pytest.approx((2 * np.var(both, ddof=1) + (0.6 / 6) ** 2) ** 0.5)
    assert nested_mean({("digits", "1"): whole, ("digits", "5"): {0: 0.6}}).low is None


@pytest.mark.parametrize(
    "seeds",
    [(range(10), range(3)), (range(5), (0, 1, 3, 4), (1, 2, 3, 4)), (range(4), range(2, 6))],
    ids=["few of many", "cells missing", "overlapping"],
)
def test_coverage_where_shots_of_one_draw_have_other_seeds(seeds: tuple[Iterable[int], ...]) -> None:
    """Shots that rise and fall with the seed: as independent strata, "cells missing" would be covered in 77%."""
    generator = np.random.default_rng(3)
    repeats, hits = 1500, 0
    for _ in range(repeats):
        draw = generator.normal(size=(2, 10))
        scores = {
            (f"d{number}", str(shots)): {seed: 0.95 * draw[number, seed] + 0.3 * generator.normal() for seed in own}
            for number in range(2)
            for shots, own in enumerate(seeds)
        }
        estimate = nested_mean(scores)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 0.0 <= estimate.high
    assert 0.93 <= hits / repeats <= 0.99


def test_clipping_keeps_the_mean_inside() -> None:
    estimate = mean_interval([0.97, 1.0, 0.99]).clipped(0.0, 1.0)
    assert estimate.high == 1.0
    assert estimate.low is not None
    assert estimate.low < estimate.mean
    assert mean_interval([0.4]).clipped(0.0, 1.0).low is None


@settings(max_examples=50, deadline=None)
@given(
    strata=st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=6), min_size=1, max_size=5),
    shift=st.floats(-3, 3),
)
def test_shift_moves_the_interval_and_nothing_else(strata: list[list[float]], shift: float) -> None:
    before = stratified_mean(strata)
    after = stratified_mean([[value + shift for value in stratum] for stratum in strata])
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-9)
    assert after.low == pytest.approx((before.low or 0.0) + shift, abs=1e-6)


def test_coverage_over_unequal_strata() -> None:
    """Nominal 95% intervals cover in 93-97% of simulated suites: 3 seeds, 6 strata of unequal spread."""
    generator = np.random.default_rng(7)
    spreads = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0])
    repeats, hits = 2000, 0
    for _ in range(repeats):
        estimate = stratified_mean(list(generator.normal(0.0, spreads, size=(3, 6)).T))
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 0.0 <= estimate.high
    assert 0.93 <= hits / repeats <= 0.97


def test_episode_interval_closed_form() -> None:
    accuracies = np.random.default_rng(0).uniform(0.4, 1.0, size=600)
    estimate = episode_interval(accuracies)
    reach = 1.96 * accuracies.std(ddof=1) / 600**0.5
    assert estimate.high == pytest.approx(accuracies.mean() + reach)
    assert estimate.low == pytest.approx(accuracies.mean() - reach)
    assert episode_interval([0.6]).low is None


def test_half_widths_of_seeds_pool_like_one_long_list_of_episodes() -> None:
    episodes = np.random.default_rng(1).uniform(size=(4, 5000))
    each = [(seed.high or 0.0) - seed.mean for seed in map(episode_interval, episodes)]
    whole = episode_interval(episodes.ravel())
    assert pooled_episode_half_width(each) == pytest.approx((whole.high or 0.0) - whole.mean, rel=0.01)
    with pytest.raises(ValueError, match="half-width"):
        pooled_episode_half_width([])
