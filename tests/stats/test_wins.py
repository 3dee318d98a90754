"""Wins, ties and losses by hand."""

from __future__ import annotations

import pytest

from tlbench.stats.wins import count_wins

OURS = {("a", "1"): {0: 0.60, 1: 0.70}, ("a", "5"): {0: 0.9}, ("b", "1"): {0: 0.5}, ("c", "1"): {0: 0.3}}
THEIRS = {("a", "1"): {0: 0.58, 1: 0.70}, ("a", "5"): {0: 0.9}, ("b", "1"): {0: 0.495}, ("c", "1"): {0: 0.31, 1: 0.9}}


def test_by_hand() -> None:
    found = count_wins(OURS, THEIRS)
    assert found.differences == {"a": pytest.approx(0.005), "b": pytest.approx(0.005), "c": pytest.approx(-0.01)}
    assert (found.win, found.tie, found.loss, found.margin) == (0, 2, 1, 0.005)  # the margin itself is a tie


def test_the_margin_decides() -> None:
    for margin, expected in ((0.0, (2, 0, 1)), (0.004, (2, 0, 1)), (0.01, (0, 3, 0))):
        found = count_wins(OURS, THEIRS, margin)
        assert (found.win, found.tie, found.loss) == expected


def test_a_method_ties_with_itself_even_without_margin() -> None:
    found = count_wins(OURS, OURS, 0.0)
    assert (found.win, found.tie, found.loss) == (0, 3, 0)


def test_what_only_one_has_does_not_count() -> None:
    assert count_wins(OURS, {("a", "1"): {5: 0.1}}).differences == {}
