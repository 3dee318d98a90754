"""Orderings against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tlbench.stats.orderings import kendall_tau, leave_one_dataset_out, ranks


def test_kendall_is_scipys_tau_b_with_and_without_ties() -> None:
    generator = np.random.default_rng(0)
    for decimals in (0, 1, 8):
        first, second = np.round(generator.normal(size=(2, 9)), decimals)
        expected = scipy.stats.kendalltau(first, second).statistic
        assert kendall_tau(dict(enumerate(first)), dict(enumerate(second))) == pytest.approx(expected)


def test_only_common_names_count() -> None:
    assert kendall_tau({"a": 1, "b": 2, "c": 3}, {"b": 5, "a": 4, "z": 0}) == 1.0
    assert kendall_tau({"a": 1, "b": 2}, {"a": 2, "b": 1}) == -1.0


def test_no_ordering_no_tau() -> None:
    assert kendall_tau({"a": 1}, {"a": 1}) is None
    assert kendall_tau({"a": 1, "b": 1}, {"a": 1, "b": 2}) is None


def test_equal_values_share_the_better_rank() -> None:
    assert ranks({"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.5}) == {"a": 4, "b": 1, "c": 2, "d": 2}


def test_leaving_out_a_dataset_takes_away_all_its_shots() -> None:
    rows = {
        "a": {("x", "1"): {0: 0.9}, ("x", "5"): {0: 0.9}, ("y", "1"): {0: 0.1}, ("z", "1"): {0: 0.1, 1: 0.9}},
        "b": {("x", "1"): {0: 0.4}, ("x", "5"): {0: 0.4}, ("y", "1"): {0: 0.3}, ("z", "1"): {0: 0.2}},
    }
    assert leave_one_dataset_out(rows) == {
        "x": {"a": 2, "b": 1},
        "y": {"a": 1, "b": 2},
        "z": {"a": 1, "b": 2},
    }


def test_one_dataset_cannot_be_left_out() -> None:
    assert leave_one_dataset_out({"a": {("x", "1"): {0: 0.9}}}) == {}
