"""Intervals with two sources of error: scipy's where there is one, a simulated mixture where there are two."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from tlbench.stats.error_mixture import ErrorSource, half_width, two_sided_p

NONE = ErrorSource(0.0)


@pytest.mark.parametrize("dof", [1, 2, 2.7, 5, 30, 250])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.9999])
def test_one_source_is_students_t(dof: float, level: float) -> None:
    expected = scipy.stats.t.ppf(0.5 + level / 2, dof)
    assert half_width(ErrorSource(1.0, dof), NONE, level) == pytest.approx(expected)
    assert half_width(NONE, ErrorSource(1.0, dof), level) == pytest.approx(expected)
    assert half_width(ErrorSource(1.0, dof), ErrorSource(1e-9), level) == pytest.approx(expected, rel=1e-6)
    assert two_sided_p(expected, ErrorSource(1.0, dof), NONE) == pytest.approx(1 - level)


def test_known_errors_are_normal_and_add_as_squares() -> None:
    assert half_width(NONE, ErrorSource(2.0)) == pytest.approx(2.0 * scipy.stats.norm.ppf(0.975))
    assert half_width(ErrorSource(3.0), ErrorSource(4.0)) == pytest.approx(5.0 * scipy.stats.norm.ppf(0.975), rel=1e-6)
    assert half_width(NONE, NONE) == 0.0


@pytest.mark.parametrize(
    ("seeds", "tests"), [(ErrorSource(1.0, 2), ErrorSource(0.7, 5)), (ErrorSource(0.3, 2.5), ErrorSource(1.0))]
)
def test_two_sources_are_the_sum_of_two_variables(seeds: ErrorSource, tests: ErrorSource) -> None:
    generator = np.random.default_rng(0)

    def draw(source: ErrorSource) -> NDArray[np.float64]:
        size = 400_000
        known = source.dof == inf
        return source.error * (generator.normal(size=size) if known else generator.standard_t(source.dof, size))

    distances = np.abs(draw(seeds) + draw(tests))
    for level in (0.5, 0.95, 0.99):
        width = half_width(seeds, tests, level)
        assert (distances <= width).mean() == pytest.approx(level, abs=0.003)
        assert two_sided_p(width, seeds, tests) == pytest.approx(1 - level, rel=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.15, 0.3, 1.0, 3.0])
def test_tests_keep_their_level_in_the_tails_where_satterthwaites_do_not(share: float) -> None:
    """Three seeds and a test set: 20,000 means with no true difference, tested at 5% and at 0.5%."""
    generator = np.random.default_rng(1)
    values = generator.normal(size=(20_000, 3))
    means = values.mean(1) + share * generator.normal(size=20_000)
    errors = values.std(1, ddof=1) / 3**0.5
    totals = np.hypot(errors, share)
    single = 2 * scipy.stats.t.sf(abs(means) / totals, 2 * (totals / errors) ** 4)
    p = np.array(
        [two_sided_p(abs(m), ErrorSource(e, 2), ErrorSource(share)) for m, e in zip(means[:4000], errors, strict=False)]
    )
    assert (p < 0.05).mean() <= 0.05 + 2 * (0.05 * 0.95 / 4000) ** 0.5
    assert (p < 0.005).mean() <= 0.005 + 2 * (0.005 / 4000) ** 0.5
    if share in (0.15, 0.3):
        assert (single < 0.005).mean() > 0.015
