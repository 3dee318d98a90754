"""The resolution floor against statsmodels' power analysis and against trying it out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.power import TTestPower

from tlbench.stats.contrasts import Contrast
from tlbench.stats.error_mixture import ErrorSource
from tlbench.stats.intervals import Estimate
from tlbench.stats.resolution import resolution_floor, seeds_needed, smallest_difference


@pytest.mark.parametrize(("seeds", "contrasts"), [(3, 1), (5, 1), (5, 9), (10, 1), (10, 45)])
def test_it_is_statsmodels_power_analysis(seeds: int, contrasts: int) -> None:
    expected = TTestPower().solve_power(nobs=seeds, alpha=0.05 / contrasts, power=0.8)
    found = smallest_difference(0.04 / seeds**0.5, seeds - 1, contrasts=contrasts)
    assert found == pytest.approx(0.04 * expected, rel=1e-3)


@pytest.mark.parametrize("contrasts", [1, 9, 45])
def test_such_a_difference_is_found_four_times_of_five(contrasts: int) -> None:
    """Three seeds, where statsmodels' own solver goes astray for small levels."""
    difference = smallest_difference(1 / 3**0.5, 2, contrasts=contrasts)
    values = np.random.default_rng(0).normal(difference, 1, (100_000, 3))
    statistic = values.mean(1) / (values.std(1, ddof=1) / 3**0.5)
    found = (statistic > scipy.stats.t.ppf(1 - 0.025 / contrasts, 2)).mean()
    assert found == pytest.approx(0.8, abs=0.005)


def test_the_floor_of_a_family_is_the_median_against_all_of_it() -> None:
    contrasts = [Contrast(Estimate(0.1, 5, error, 4.0, 0.0, 0.2), 0.1, 5) for error in (0.01, 0.02, 0.09)]
    silent = [None, Contrast(Estimate(0.1, 1), None, 1), Contrast(Estimate(0.0, 3, 0.0, None, 0.0, 0.0), 1.0, 3)]
    assert resolution_floor([*contrasts, *silent]) == pytest.approx(smallest_difference(0.02, 4.0, contrasts=3))
    assert resolution_floor(silent) is None


def test_more_seeds_show_less() -> None:
    floors = [smallest_difference(0.02 / seeds**0.5, seeds - 1) for seeds in (3, 5, 10, 50)]
    assert floors == sorted(floors, reverse=True)
    assert floors[-1] == pytest.approx(0.02 / 50**0.5 * (1.96 + 0.84), rel=0.05)


def test_seeds_needed_is_where_the_expected_bound_passes_the_margin() -> None:
    """Three seeds with a spread of one point: the t bound is computed here for every number of seeds."""
    spread, seeds = 0.01, 3
    estimate = Estimate(-0.001, 3, spread / seeds**0.5, 2.0)
    bounds = {n: -0.001 - scipy.stats.t.ppf(1 - 0.025 / 3, n - 1) * spread / n**0.5 for n in range(4, 101)}
    expected = next(n for n, bound in bounds.items() if bound > -0.01)
    assert seeds_needed(estimate, seeds, 0.01, contrasts=3) == expected


def test_no_number_of_seeds_makes_up_for_a_small_test_set_or_a_large_gap() -> None:
    spread = 0.01 / 3**0.5
    assert seeds_needed(Estimate(0.0, 3, spread, 2.0, tests=ErrorSource(0.006)), 3, 0.01) is None
    assert seeds_needed(Estimate(0.0, 3, spread, 2.0, tests=ErrorSource(0.002)), 3, 0.01) is not None
    assert seeds_needed(Estimate(-0.01, 3, spread, 2.0), 3, 0.01) is None
    assert seeds_needed(Estimate(0.0, 1), 1, 0.01) is None


def test_the_floor_contains_the_error_of_the_test_set() -> None:
    def floor(tests: float) -> float:
        estimate = Estimate(0.0, 5, 0.01, 4.0, tests=ErrorSource(tests))
        found = resolution_floor([Contrast(estimate, None, 5)])
        assert found is not None
        return found

    assert floor(0.0) == pytest.approx(smallest_difference(0.01, 4.0))
    known = 1.0 * (scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8))
    assert floor(1.0) == pytest.approx(known, rel=0.01)
