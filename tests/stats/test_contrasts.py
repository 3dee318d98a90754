"""Paired contrasts and Holm against scipy.stats, by hand, and by simulated false alarms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tlbench.stats.contrasts import Contrast, holm, paired_contrast
from tlbench.stats.intervals import stratified_mean


def one(ours: dict[int, float], theirs: dict[int, float]) -> Contrast | None:
    return paired_contrast({("digits", "5"): ours}, {("digits", "5"): theirs})


def test_paired_is_scipys_related_t_test() -> None:
    ours, theirs = [0.91, 0.88, 0.93, 0.90], [0.89, 0.87, 0.90, 0.90]
    expected = scipy.stats.ttest_rel(ours, theirs)
    interval = expected.confidence_interval(0.95)
    contrast = one(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert contrast is not None
    assert contrast.p == pytest.approx(expected.pvalue)
    assert contrast.estimate.low == pytest.approx(interval.low)
    assert contrast.estimate.high == pytest.approx(interval.high)


def test_pairs_by_seed_and_not_by_position() -> None:
    contrast = one({2: 0.7, 0: 0.5, 9: 0.1}, {0: 0.4, 2: 0.5, 1: 0.99})
    assert contrast is not None
    assert contrast.estimate.n == 2
    assert contrast.estimate.mean == pytest.approx((0.1 + 0.2) / 2)


def test_no_common_seed_is_no_contrast() -> None:
    assert one({0: 0.5}, {1: 0.5}) is None


def test_one_pair_gives_a_difference_without_interval() -> None:
    contrast = one({0: 0.5}, {0: 0.4})
    assert contrast is not None
    assert contrast.estimate.mean == pytest.approx(0.1)
    assert contrast.p is contrast.estimate.low is None


def test_equal_rows_are_no_difference_and_constant_ones_make_no_claim() -> None:
    same = one({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6})
    constant = one({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.5, 2: 0.6})
    assert same is not None
    assert same.p == 1.0
    assert constant is not None
    assert constant.p is None
    assert constant.estimate.mean == pytest.approx(0.1)


def test_strata_use_common_cells_only() -> None:
    contrast = paired_contrast(
        {("digits", "5"): {0: 0.6, 1: 0.8}, ("glyphs", "5"): {0: 0.9}},
        {("digits", "5"): {0: 0.5, 1: 0.5}, ("pydocs", "5"): {0: 0.1}},
    )
    assert contrast is not None
    assert (contrast.pairs, contrast.estimate.n) == (2, 2)
    assert contrast.estimate.mean == pytest.approx(0.2)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == (
        pytest.approx(0.03),
        pytest.approx(0.06),
        pytest.approx(0.06),
        None,
        pytest.approx(0.02),
    )
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_one_method_under_two_names_is_rarely_significant() -> None:
    """400 suites in which no contrast is real: any false alarm in at most about 5% (Holm over 4 contrasts)."""
    generator = np.random.default_rng(11)
    alarms = 0
    for _ in range(400):
        scores = generator.normal(0.7, 0.05, size=(5, 3, 5))  # method, stratum, seed
        rows = [{(str(k), "5"): dict(enumerate(v)) for k, v in enumerate(method)} for method in scores]
        contrasts = [paired_contrast(row, rows[0]) for row in rows[1:]]
        adjusted = holm([contrast.p if contrast else None for contrast in contrasts])
        alarms += any(p is not None and p < 0.05 for p in adjusted)
    assert alarms / 400 <= 0.07  # 5% and two standard errors of 400 suites


def test_nested_shots_raise_no_false_alarms() -> None:
    """Shots of one seed move together; taken for independent strata they would alarm in far more than 5%."""
    generator = np.random.default_rng(5)
    pooled, naive = 0, 0
    for _ in range(1000):
        shared = generator.normal(0.0, 0.05, size=5)  # a seed's luck with its draw, the same at every number of shots
        differences = [shared + generator.normal(0.0, 0.01, size=5) for _ in range(3)]
        ours = {("digits", str(k)): dict(enumerate(0.5 + d)) for k, d in enumerate(differences)}
        theirs = {name: dict.fromkeys(by_seed, 0.5) for name, by_seed in ours.items()}
        contrast = paired_contrast(ours, theirs)
        pooled += contrast is not None and contrast.p is not None and contrast.p < 0.05
        low, high = stratified_mean(differences).low, stratified_mean(differences).high
        naive += low is not None and high is not None and not low <= 0 <= high
    assert pooled / 1000 <= 0.07
    assert naive / 1000 > 0.15
