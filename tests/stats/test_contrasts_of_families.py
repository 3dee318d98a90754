"""Contrasts on new datasets and of whole families: against scipy and statsmodels, by hand, and by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from suites import by_dataset, rows
from tlbench.stats.contrasts import (
    baseline_contrasts,
    family_contrasts,
    holm,
    paired_contrast,
    paired_contrast_across_datasets,
    reversed_contrast,
)
from tlbench.stats.contrasts import contrasts_by_dataset as dataset_by_dataset
from tlbench.stats.intervals import across_datasets, nested_mean

OURS = {("a", "1"): {0: 0.6, 1: 0.7}, ("a", "5"): {0: 0.9, 1: 0.9}, ("b", "1"): {0: 0.5, 1: 0.7}, ("c", "1"): {3: 0.8}}
THEIRS = {("a", "1"): {0: 0.5, 1: 0.5}, ("a", "5"): {0: 0.8, 1: 0.8}, ("b", "1"): {0: 0.5}, ("c", "1"): {3: 0.4}}


def test_new_datasets_are_scipys_t_test_over_the_datasets_differences() -> None:
    expected = scipy.stats.ttest_1samp([(0.15 + 0.1) / 2, 0.0, 0.4], 0.0)
    contrast = paired_contrast_across_datasets(OURS, THEIRS)
    assert contrast is not None
    assert contrast.p == pytest.approx(expected.pvalue)
    assert contrast.estimate.low == pytest.approx(expected.confidence_interval().low)
    assert contrast.estimate.high == pytest.approx(expected.confidence_interval().high)
    assert (contrast.estimate.n, contrast.estimate.dof, contrast.pairs) == (3, 2, 6)


def test_one_dataset_says_nothing_of_new_ones() -> None:
    contrast = paired_contrast_across_datasets(
        {("a", "1"): {0: 0.5, 1: 0.6, 2: 0.7}}, {("a", "1"): {0: 0.4, 1: 0.4, 2: 0.4}}
    )
    assert contrast is not None
    assert contrast.estimate.mean == pytest.approx(0.2)
    assert contrast.p is contrast.estimate.low is None
    assert paired_contrast_across_datasets({("a", "1"): {0: 0.5}}, {("b", "1"): {0: 0.5}}) is None


def test_mean_on_new_datasets_is_students_t_over_their_means() -> None:
    expected = scipy.stats.ttest_1samp([0.775, 0.6, 0.8], 0.0).confidence_interval(0.9)
    estimate = across_datasets(OURS, level=0.9)
    assert (estimate.low, estimate.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_dataset_by_dataset() -> None:
    found = dataset_by_dataset(OURS, THEIRS)
    assert {name: each.estimate.mean for name, each in found.items()} == {
        "a": pytest.approx(0.125),
        "b": pytest.approx(0.0),
        "c": pytest.approx(0.4),
    }
    alone = paired_contrast({key: OURS[key] for key in list(OURS)[:2]}, THEIRS)
    assert found["a"] == alone
    assert found["b"].pairs == 1


def test_a_mirrored_contrast_is_the_contrast_of_the_other_side() -> None:
    suite = rows(np.random.default_rng(3))
    contrast = paired_contrast(suite["m0"], suite["m1"])
    back = paired_contrast(suite["m1"], suite["m0"])
    assert contrast is not None
    assert back is not None
    turned = reversed_contrast(contrast)
    assert turned.p == pytest.approx(back.p)
    for end in ("mean", "low", "high", "error", "dof"):
        assert getattr(turned.estimate, end) == pytest.approx(getattr(back.estimate, end))


def test_holm_is_statsmodels() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 7, 20):
        p = generator.uniform(0, 0.2, size)
        assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_a_family_is_the_contrasts_with_the_baseline_and_no_more() -> None:
    suite = rows(np.random.default_rng(1), datasets=1, levels=[0.7, 0.72, 0.75, 0.7])
    found = baseline_contrasts(suite, "m0")
    pairs = {name: (suite[name], suite["m0"]) for name in ("m1", "m2", "m3")}
    contrasts = family_contrasts(pairs, rows=4)
    p = multipletests([each.p for each in contrasts.values() if each is not None], method="holm")[1]
    assert list(found) == ["m1", "m2", "m3"]
    assert [each.contrast for each in found.values()] == list(contrasts.values())
    assert [each.p_holm for each in found.values()] == pytest.approx(p)
    alone = [paired_contrast(*pair) for pair in pairs.values()]
    means = [each.estimate.mean for each in alone if each is not None]
    assert [each.contrast.estimate.mean for each in found.values() if each.contrast] == pytest.approx(means)


def test_a_row_that_shares_no_cell_makes_no_claim_and_costs_the_others_nothing() -> None:
    suite = rows(np.random.default_rng(1), methods=2)
    alone = baseline_contrasts(suite, "m0")
    beside = baseline_contrasts(suite | {"apart": {("elsewhere", "1"): {0: 0.5}}}, "m0")
    assert beside["apart"].contrast is beside["apart"].p_holm is None
    assert beside["m1"].p_holm == pytest.approx(alone["m1"].p_holm)


def test_degrees_of_freedom_are_at_most_those_of_the_pooled_variances() -> None:
    """Two pairs of two rows each, which are not moderated, so that the cap alone is seen."""
    suite = rows(np.random.default_rng(0), methods=3, datasets=2, seeds=4)
    pairs = {name: (suite[name], suite["m0"]) for name in ("m1", "m2")}
    gaps = {name: [[ours[d, "5"][s] - theirs[d, "5"][s] for s in range(4)] for d in ("d0", "d1")]
            for name, (ours, theirs) in pairs.items()}  # fmt: skip
    variances = {name: np.var(each, axis=1, ddof=1) for name, each in gaps.items()}
    together = sum(variances.values())

    def dof(parts: Any) -> float:
        return float(parts.sum() ** 2 / (parts**2 / 3).sum())

    found = family_contrasts(pairs, rows=2)
    own = {name: dof(each) for name, each in variances.items()}
    assert min(own.values()) < dof(together) < max(own.values())
    for name, contrast in found.items():
        assert contrast is not None
        assert contrast.estimate.dof == pytest.approx(min(own[name], dof(together)))
        low, high = scipy.stats.t.interval(0.95, contrast.estimate.dof, contrast.estimate.mean, contrast.estimate.error)
        assert (contrast.estimate.low, contrast.estimate.high) == (pytest.approx(low), pytest.approx(high))
        assert contrast.p == pytest.approx(
            2 * scipy.stats.t.sf(abs(contrast.estimate.mean) / contrast.estimate.error, contrast.estimate.dof)
        )


def test_a_pair_alone_is_the_paired_contrast() -> None:
    suite = rows(np.random.default_rng(2), methods=2)
    assert family_contrasts({"one": (suite["m0"], suite["m1"])}, rows=2)["one"] == paired_contrast(
        suite["m0"], suite["m1"]
    )


def test_one_noisy_dataset_raises_no_false_alarms() -> None:
    """Eight equal methods, one dataset of six that spreads 20 times as far: each contrast alone alarms too often."""
    generator = np.random.default_rng(10)
    spread = np.array([0.01] * 5 + [0.2])[:, None]
    alarms, alone = 0, 0
    for _ in range(200):
        suite = {m: by_dataset(0.5 + generator.normal(0, 1, (6, 3)) * spread) for m in range(8)}
        alarms += any(each.p_holm is not None and each.p_holm < 0.05 for each in baseline_contrasts(suite, 0).values())
        p = [contrast.p for m in range(1, 8) if (contrast := paired_contrast(suite[m], suite[0]))]
        alone += any(each is not None and each < 0.05 for each in holm(p))
    assert alarms / 200 <= 0.05
    assert alone / 200 > 0.07


def test_coverage_on_new_datasets_and_what_seeds_alone_would_claim() -> None:
    """Six datasets that like the method unlike each other: t over datasets covers 95%, Welch over seeds far less."""
    generator = np.random.default_rng(2)
    repeats, hits, of_seeds = 2000, 0, 0
    for _ in range(repeats):
        liking = generator.normal(0.0, 0.05, (6, 1))
        scores = by_dataset(0.02 + liking + generator.normal(0.0, 0.03, (6, 3)))
        new, these = across_datasets(scores), nested_mean(scores)
        hits += (new.low or 0.0) <= 0.02 <= (new.high or 0.0)
        of_seeds += (these.low or 0.0) <= 0.02 <= (these.high or 0.0)
    assert 0.93 <= hits / repeats <= 0.97
    assert of_seeds / repeats < 0.8


def test_coverage_of_paired_differences_on_these_datasets() -> None:
    """The luck of a draw is shared and cancels; what is left spreads unlike from dataset to dataset."""
    generator = np.random.default_rng(4)
    repeats, hits = 1500, 0
    for _ in range(repeats):
        suite = rows(generator, methods=2, datasets=6, seeds=3, levels=[0.73, 0.7], shared=0.1)
        contrast = paired_contrast(suite["m0"], suite["m1"])
        assert contrast is not None
        hits += (contrast.estimate.low or 0.0) <= 0.03 <= (contrast.estimate.high or 0.0)
    assert 0.93 <= hits / repeats <= 0.97


def test_pairing_finds_what_two_separate_samples_hide() -> None:
    """Where methods share the luck of a draw, paired intervals find a difference far more often than Welch's test."""
    generator = np.random.default_rng(6)
    repeats, with_pairs, without = 300, 0, 0
    for _ in range(repeats):
        suite = rows(generator, methods=2, datasets=1, seeds=5, levels=[0.73, 0.7], shared=0.05, own=0.01)
        contrast = paired_contrast(suite["m0"], suite["m1"])
        assert contrast is not None
        with_pairs += contrast.p is not None and contrast.p < 0.05
        ours, theirs = ([*suite[name]["d0", "5"].values()] for name in ("m0", "m1"))
        without += scipy.stats.ttest_ind(ours, theirs, equal_var=False).pvalue < 0.05
    assert with_pairs / repeats > 0.9
    assert without / repeats < 0.3
