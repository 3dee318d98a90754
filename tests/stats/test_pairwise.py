"""All pairs: simultaneous intervals by scipy, ranks by hand, and what simulated suites make of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from suites import by_dataset, rows
from tlbench.stats.contrasts import Contrast, baseline_contrasts
from tlbench.stats.intervals import Estimate
from tlbench.stats.pairwise import (
    Pair,
    Pairwise,
    all_pairs,
    not_separable_from_best,
    pairs_with,
    rank_intervals,
)

SUITE = rows(np.random.default_rng(0), methods=4, datasets=1, seeds=8, levels=[0.6, 0.8, 0.7, 0.7])


def test_intervals_and_p_values_are_bonferronis_over_six_pairs() -> None:
    pairwise = all_pairs(SUITE)
    names = [(a, b) for a in SUITE for b in SUITE if a < b]
    assert len(pairwise.pairs) == 12
    assert pairwise.tests == 6
    raw = []
    for pair in names:
        estimate = pairwise.pairs[pair].contrast.estimate
        assert estimate.dof is not None
        assert 7 < estimate.dof <= 9  # of eight seeds, and of the other two rows
        low, high = scipy.stats.t.interval(1 - 0.05 / 6, estimate.dof, estimate.mean, estimate.error)
        assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(high))
        raw.append(2 * scipy.stats.t.sf(abs(estimate.mean) / estimate.error, estimate.dof))
    adjusted = multipletests(raw, method="bonferroni")[1]
    assert [pairwise.pairs[pair].p for pair in names] == pytest.approx(list(adjusted))


def test_two_rows_are_scipys_related_t_test() -> None:
    values = [[*SUITE[name]["d0", "5"].values()] for name in ("m0", "m1")]
    test = scipy.stats.ttest_rel(*values)
    pair = all_pairs({name: SUITE[name] for name in ("m0", "m1")}).pairs["m0", "m1"]
    assert pair.p == pytest.approx(test.pvalue)
    assert pair.contrast.estimate.low == pytest.approx(test.confidence_interval(0.95).low)


def test_pairs_with_the_leader_are_those_of_all_pairs_but_for_what_moderates_them() -> None:
    few = {name: SUITE[name] for name in ("m0", "m1")}
    assert pairs_with("m1", few) == Pairwise(("m0", "m1"), pairs_with("m1", few).pairs, 0.95)
    assert all_pairs(few).pairs["m1", "m0"].p == pytest.approx(pairs_with("m1", few).pairs["m1", "m0"].p)
    many = pairs_with("m1", SUITE)
    assert many.tests == 6
    assert {first for first, _ in many.pairs} | {second for _, second in many.pairs} == set(SUITE)
    assert all("m1" in pair for pair in many.pairs)


def test_both_directions_say_the_same() -> None:
    pairs = all_pairs(SUITE).pairs
    for (first, second), pair in pairs.items():
        back = pairs[second, first]
        assert back.verdict == -pair.verdict
        assert back.contrast.estimate.low == -(pair.contrast.estimate.high or 0.0)


def test_a_verdict_is_an_interval_that_excludes_zero() -> None:
    verdicts = set()
    for pair in all_pairs(SUITE).pairs.values():
        low, high = pair.contrast.estimate.low or 0.0, pair.contrast.estimate.high or 0.0
        assert pair.verdict == (low > 0) - (high < 0)
        assert (pair.p or 0.0) < 0.05 if pair.verdict else (pair.p or 0.0) >= 0.05
        verdicts.add(pair.verdict)
    assert verdicts == {-1, 0, 1}


def test_ranks_by_hand() -> None:
    contrast = Contrast(Estimate(0.0, 1), None, 1)
    verdicts = {("a", "b"): 0, ("a", "c"): 1, ("a", "d"): 1, ("b", "c"): 0, ("b", "d"): 1, ("c", "d"): 0}
    pairs = {pair: Pair(contrast, None, verdict) for pair, verdict in verdicts.items()}
    pairs |= {(b, a): Pair(contrast, None, -verdict) for (a, b), verdict in verdicts.items()}
    assert rank_intervals(Pairwise(("a", "b", "c", "d"), pairs, 0.95)) == {
        "a": (1, 2),
        "b": (1, 3),
        "c": (2, 4),
        "d": (3, 4),
    }


def test_one_row_is_first_and_rows_apart_have_any_rank() -> None:
    assert rank_intervals(all_pairs({"a": SUITE["m0"]})) == {"a": (1, 1)}
    apart = all_pairs({"a": {("x", "1"): {0: 0.1, 1: 0.2}}, "b": {("y", "1"): {0: 0.8, 1: 0.9}}})
    assert apart.pairs == {}
    assert rank_intervals(apart) == {"a": (1, 2), "b": (1, 2)}


def test_a_constant_difference_separates_nothing() -> None:
    suite = {"a": {("x", "1"): {0: 0.5, 1: 0.6, 2: 0.7}}, "b": {("x", "1"): {0: 0.1, 1: 0.2, 2: 0.3}}}
    assert [pair.verdict for pair in all_pairs(suite).pairs.values()] == [0, 0]
    assert not_separable_from_best(suite) == ("a", "b")


def test_of_two_rows_the_worse_falls_out_by_scipys_two_sided_test() -> None:
    kept = []
    for seed in range(20):
        suite = rows(np.random.default_rng(seed), 2, 1, 4, levels=[0.7, 0.715], own=0.01)
        first, second = ([*suite[name]["d0", "5"].values()] for name in ("m0", "m1"))
        p = scipy.stats.ttest_rel(first, second).pvalue
        assert ("m0" in not_separable_from_best(suite)) == (p >= 0.05)
        kept.append(p >= 0.05)
    assert 0 < sum(kept) < 20


def test_the_best_are_found_on_common_cells() -> None:
    """On its own easy dataset m0 would lead; on what all share it is far behind."""
    suite = rows(np.random.default_rng(1), 2, 1, 6, levels=[0.5, 0.8], own=0.01)
    suite["m0"] = suite["m0"] | {("easy", "5"): dict.fromkeys(range(6), 1.0), ("easier", "5"): {0: 1.0, 1: 1.0}}
    assert not_separable_from_best(suite) == ("m1",)
    assert not_separable_from_best({"a": {}, "b": {("x", "1"): {0: 0.5}}}) == ("a", "b")


def test_the_best_on_new_datasets_are_tests_over_datasets() -> None:
    """Each dataset likes another method: on these datasets m3 leads beyond doubt, on new ones it may not."""
    suite = rows(np.random.default_rng(3), 4, 6, 4, levels=[0.5, 0.7, 0.71, 0.72], own=0.002, liking=0.05)
    means = {name: np.array([np.mean([*v.values()]) for v in scores.values()]) for name, scores in suite.items()}
    leader = max(means, key=lambda name: means[name].mean())
    expected = {
        name for name in means if name == leader or scipy.stats.ttest_rel(means[name], means[leader]).pvalue >= 0.05 / 6
    }
    found = not_separable_from_best(suite, new_datasets=True)
    assert set(found) == expected
    assert 1 < len(found) < 4
    assert len(not_separable_from_best(suite)) == 1


def test_rows_fall_out_on_new_datasets_by_two_sided_tests_over_all_pairs() -> None:
    left_out = 0
    for seed in range(60):
        suite = rows(np.random.default_rng(seed), 3, 6, 4, levels=[0.66, 0.7, 0.72], own=0.002, liking=0.03)
        means = {name: np.array([np.mean([*v.values()]) for v in scores.values()]) for name, scores in suite.items()}
        leader = max(means, key=lambda name: means[name].mean())
        p = {name: scipy.stats.ttest_rel(own, means[leader]).pvalue for name, own in means.items() if name != leader}
        expected = {leader, *(name for name, each in p.items() if each >= 0.05 / 3)}
        assert set(not_separable_from_best(suite, new_datasets=True)) == expected
        left_out += any(0.05 / 6 <= each < 0.05 / 3 for each in p.values())
    assert left_out > 0


def test_one_method_under_five_names_over_200_suites() -> None:
    """Any claim at all is false; at most 5% of suites may make one, and two standard errors of 200."""
    generator = np.random.default_rng(8)
    separated, torn, lost = 0, 0, 0
    for _ in range(200):
        suite = rows(generator, methods=5, datasets=4, seeds=4)
        pairwise = all_pairs(suite)
        separated += any(pair.verdict for pair in pairwise.pairs.values())
        torn += any(interval != (1, 5) for interval in rank_intervals(pairwise).values())
        lost += len(not_separable_from_best(suite)) < 5
    assert separated == torn
    assert max(separated, lost) / 200 <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


def test_true_ranks_and_the_true_best_are_covered() -> None:
    """Rows in equal steps: all true ranks within their intervals, and the best in its set, in at least 93%."""
    generator = np.random.default_rng(9)
    ranks_hold, best_held, lengths = 0, 0, []
    for _ in range(200):
        suite = rows(generator, 4, 3, 6, levels=[0.76, 0.74, 0.72, 0.65])
        intervals = rank_intervals(all_pairs(suite))
        ranks_hold += all(low <= place <= high for place, (low, high) in enumerate(intervals.values(), start=1))
        best = not_separable_from_best(suite)
        best_held += "m0" in best
        lengths.append(len(best))
    assert ranks_hold / 200 >= 0.93
    assert best_held / 200 >= 0.93
    assert np.mean(lengths) < 3  # and the sets are of use


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("methods", [3, 8])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [(1.0,), (1.0, 8.0), (1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.0, 1.0, 1.0, 20.0)])
def test_no_claim_is_made_of_equal_methods_whatever_their_spread(
    methods: int, seeds: int, spread: tuple[float, ...]
) -> None:
    """400 suites a design; 5% and two standard errors of 400."""
    generator = np.random.default_rng(1)
    scale = 0.01 * np.array(spread)[:, None]
    alarms = {"pairs": 0.0, "baseline": 0.0, "best": 0.0}
    for _ in range(400):
        suite = {m: by_dataset(0.5 + generator.normal(0, 1, (len(spread), seeds)) * scale) for m in range(methods)}
        alarms["pairs"] += any(pair.verdict for pair in all_pairs(suite).pairs.values())
        alarms["baseline"] += any(
            each.p_holm is not None and each.p_holm < 0.05 for each in baseline_contrasts(suite, 0).values()
        )
        alarms["best"] += len(not_separable_from_best(suite)) < methods
    assert max(alarms.values()) / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5, alarms
