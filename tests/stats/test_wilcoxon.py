"""Signed ranks against scipy and scikit-posthocs, the floor by brute force, groups against networkx."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
import scikit_posthocs
import scipy.stats

from tlbench.stats.wilcoxon import (
    critical_difference_diagram,
    mean_ranks,
    required_datasets,
    signed_rank_p,
    wilcoxon_holm,
)

RNG = np.random.default_rng(0)
TABLE = RNG.normal(0, 1, (14, 5)) + np.array([0, 0.3, 1.5, 3, 3.2])


@pytest.mark.parametrize("count", [1, 5, 12, 40])
def test_without_ties_it_is_scipys_exact_test(count: int) -> None:
    differences = RNG.normal(0.4, 1, count)
    assert signed_rank_p(differences) == pytest.approx(scipy.stats.wilcoxon(differences, method="exact").pvalue)


def test_ties_and_zeros_are_all_signs_tried_out() -> None:
    differences = np.array([0.3, 0.1 + 0.2, -0.1, 0.0, 0.5, -0.3, 0.1, 0.7])
    ranks = scipy.stats.rankdata(np.round(np.abs(differences[differences != 0]), 9))
    sums = np.array([ranks @ signs for signs in product([0, 1], repeat=len(ranks))])
    observed = ranks @ (differences[differences != 0] > 0)
    expected = 2 * min((sums <= observed).mean(), (sums >= observed).mean())
    assert signed_rank_p(differences) == pytest.approx(min(1.0, expected))


def test_no_difference_has_p_one() -> None:
    assert signed_rank_p([0.0, 0.0]) == signed_rank_p([]) == 1.0


def test_all_pairs_are_scikit_posthocs() -> None:
    expected = scikit_posthocs.posthoc_wilcoxon(list(TABLE.T), method="exact", p_adjust="holm").to_numpy()
    assert wilcoxon_holm(TABLE) == pytest.approx(expected)


def test_mean_ranks_are_scipys() -> None:
    table = np.round(TABLE, 0)  # with ties
    expected = np.mean([scipy.stats.rankdata(-scores) for scores in table], axis=0)
    assert mean_ranks(table) == pytest.approx(expected)


@pytest.mark.parametrize(("methods", "datasets"), [(2, 6), (3, 7), (5, 9), (8, 11), (20, 13)])
def test_the_floor_is_where_the_clearest_of_results_becomes_significant(methods: int, datasets: int) -> None:
    """Methods in the same order on each dataset, as far apart as one likes."""
    assert required_datasets(methods) == datasets
    clearest = np.arange(methods) * 10.0 + RNG.uniform(size=(datasets, 1)) * np.arange(methods)
    assert wilcoxon_holm(clearest).min() < 0.05
    assert wilcoxon_holm(clearest[:-1]).min() >= 0.05


def test_a_single_method_has_no_floor() -> None:
    with pytest.raises(ValueError, match="two methods"):
        required_datasets(1)


def test_below_the_floor_there_is_no_diagram() -> None:
    names = list("abcde")
    assert critical_difference_diagram(TABLE[:8], names) is None
    assert critical_difference_diagram(TABLE[:9], names) is not None
    assert critical_difference_diagram(TABLE[:, :1], ["a"]) is None


def test_a_diagram_joins_exactly_what_is_not_separable() -> None:
    """Any two methods stand in one group together exactly where their p-value is not significant."""
    networkx = pytest.importorskip("networkx")
    generator = np.random.default_rng(4)
    for _ in range(20):
        table = generator.normal(0, 1, (14, 7)) + np.linspace(0, 2.5, 7)
        found = critical_difference_diagram(table, list("abcdefg"))
        assert found is not None
        assert list(found.ranks) == sorted(found.ranks)
        pairs = [pair for pair in combinations(range(7), 2) if found.p[pair] >= 0.05]
        expected = networkx.find_cliques(networkx.Graph([(found.names[i], found.names[j]) for i, j in pairs]))
        assert {frozenset(group) for group in found.cliques} == {frozenset(group) for group in expected}
        joined = {pair for group in found.cliques for pair in combinations([found.names.index(n) for n in group], 2)}
        assert joined == set(pairs)


def test_diagram_by_hand() -> None:
    low, high = np.zeros((12, 2)), np.ones((12, 1))
    noise = RNG.normal(0, 0.01, (12, 3))
    found = critical_difference_diagram(np.hstack([low, high]) + noise, ["a", "b", "best"])
    assert found is not None
    assert found.names[0] == "best"
    assert found.ranks[0] == 1.0
    assert [set(group) for group in found.cliques] == [{"a", "b"}]
    assert found.datasets == 12


def test_one_method_under_six_names_is_rarely_separated() -> None:
    generator = np.random.default_rng(7)
    alarms = sum(wilcoxon_holm(generator.normal(0, 1, (12, 6))).min() < 0.05 for _ in range(200))
    assert alarms / 200 <= 0.05
