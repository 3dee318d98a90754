"""Common cells and means by dataset, by hand."""

from __future__ import annotations

import pytest

from tlbench.stats.scores import common_cells, dataset_means, fewest_seeds

ONE = {("digits", "1"): {0: 0.1, 1: 0.2, 2: 0.3}, ("digits", "5"): {0: 0.5}, ("glyphs", "1"): {0: 0.9}}
TWO = {("digits", "1"): {2: 0.4, 1: 0.6, 7: 0.5}, ("pydocs", "1"): {0: 0.2}}


def test_common_cells_are_those_that_all_have() -> None:
    common = common_cells({"one": ONE, "two": TWO})
    assert common.rows == {"one": {("digits", "1"): {1: 0.2, 2: 0.3}}, "two": {("digits", "1"): {1: 0.6, 2: 0.4}}}
    assert common.cells == 2
    assert common.left_out == {"one": 3, "two": 2}


def test_a_row_alone_keeps_all_and_no_row_has_none() -> None:
    assert common_cells({"one": ONE}).rows == {"one": ONE}
    assert common_cells({}).cells == 0


def test_one_row_without_a_cell_leaves_nothing_to_any() -> None:
    common = common_cells({"one": ONE, "two": TWO, "none": {}})
    assert (common.cells, common.rows) == (0, {"one": {}, "two": {}, "none": {}})


def test_dataset_means_weigh_shots_alike_whatever_their_seeds() -> None:
    assert dataset_means(ONE) == {"digits": pytest.approx((0.2 + 0.5) / 2), "glyphs": 0.9}


def test_the_poorest_stratum_counts() -> None:
    assert (fewest_seeds(ONE), fewest_seeds(TWO), fewest_seeds({})) == (1, 1, 0)
