"""Clusters against scikit-learn's, and the agreement of groupings against its adjusted mutual information."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from tlbench.stats.clustering import adjusted_mutual_information, k_means

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sizes", [(3, 3), (2, 7), (5, 5), (12, 4)])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_agreement_is_scikit_learns(sizes: tuple[int, int], share: float) -> None:
    first = RNG.integers(0, sizes[0], 80)
    second = np.where(RNG.random(80) < share, first % sizes[1], RNG.integers(0, sizes[1], 80))
    expected = adjusted_mutual_info_score(first, second)
    assert adjusted_mutual_information(first, second) == pytest.approx(expected, abs=1e-10)
    assert adjusted_mutual_information(second, first) == pytest.approx(expected, abs=1e-10)


def test_equal_groups_agree_fully_whatever_they_are_called_and_one_group_with_nothing() -> None:
    groups = RNG.integers(0, 4, 50)
    assert adjusted_mutual_information(groups, 3 - groups) == pytest.approx(1)
    assert adjusted_mutual_information(groups, np.zeros(50, int)) == 0
    assert adjusted_mutual_information(np.zeros(50, int), groups) == 0


def test_independent_groups_agree_by_chance_only() -> None:
    found = [adjusted_mutual_information(RNG.integers(0, 5, 40), RNG.integers(0, 5, 40)) for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_well_separated_points_are_found_and_found_again() -> None:
    centres = 20 * RNG.normal(size=(6, 3))
    truth = RNG.integers(0, 6, 200)
    x = centres[truth] + RNG.normal(size=(200, 3))
    found = k_means(x, 6)
    assert adjusted_mutual_information(found, truth) > 0.85
    np.testing.assert_array_equal(found, k_means(x, 6))


def test_it_ends_where_every_point_is_nearest_to_the_mean_of_its_cluster() -> None:
    x = np.random.default_rng(1).normal(size=(200, 2))
    found = k_means(x, 5)
    means = np.stack([x[found == k].mean(0) for k in range(5)])
    np.testing.assert_array_equal(found, ((x[:, None] - means) ** 2).sum(2).argmin(1))


def test_fewer_points_than_clusters_are_clusters_of_their_own() -> None:
    x = np.repeat(np.array([[0.0, 1], [5, 5]]), 4, 0)
    found = k_means(x, 5)
    assert adjusted_mutual_information(found, np.repeat([0, 1], 4)) == pytest.approx(1)
