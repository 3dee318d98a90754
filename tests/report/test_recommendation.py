"""What a board recommends: from cells made here, with bounds by scipy and words that agree with the ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.recommendation import MARGIN, Recommendation, answer
from tlbench.report.rows.leaderboard import leaderboard

GOOD, BAD = (0.91, 0.93, 0.92, 0.90), (0.50, 0.53, 0.51, 0.49)
NEAR = tuple(round(each - shift, 4) for each, shift in zip(GOOD, (0.001, 0.002, 0.001, 0.002), strict=True))
OFF = tuple(round(each - shift, 4) for each, shift in zip(GOOD, (0.10, 0.02, 0.06, 0.01), strict=True))


def cells(
    method: str,
    accuracies: tuple[float, ...],
    dataset: str = "digits",
    backbone: str = "conv4",
    seconds: float | None = 2.0,
    trainable: float | None = 1000.0,
    oracle: bool = False,
) -> list[ComparableCell]:
    return [
        ComparableCell(
            "classification", "classification", method, method, backbone, dataset, "5", seed, accuracy,
            device_seconds=seconds, trainable=trainable, stored_bytes=2048.0, oracle=oracle,
        )
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def told(*rows: list[ComparableCell]) -> Recommendation:
    (board,) = leaderboard([cell for row in rows for cell in row], "")
    found = answer(board)
    if found.leader is not None and board.comparison is not None:
        assert found.is_best == (found.leader.ranks == (1, 1)), "the sentence and the ranks agree"
        assert ("is the best" in found.sentence) == found.is_best
    return found


def test_a_cheaper_row_is_taken_where_it_is_shown_to_be_within_the_margin() -> None:
    found = told(cells("slow", GOOD, seconds=90.0), cells("quick", NEAR, seconds=0.5))
    gaps = np.subtract(NEAR, GOOD)
    low = scipy.stats.ttest_1samp(gaps, 0).confidence_interval(0.95).low
    assert low > -MARGIN
    assert found.choice is not None
    assert [row.method for row in found.within_margin] == [found.choice.method] == ["quick"]
    assert found.sentence == (
        "On digits, with 5 labels a class, slow (91.5%) is the best of 2 methods; the cheapest that is shown to lose "
        "less than 1 point to slow is quick (91.4%), at 500 CPU-ms a cell (4 seeds); that holds for this dataset, new "
        "ones may differ."
    )


def test_a_row_that_may_be_far_worse_is_not_taken_for_want_of_significance() -> None:
    """Five points behind and far cheaper, yet not significantly worse: the old answer would have been to take it."""
    found = told(cells("slow", GOOD, seconds=90.0), cells("quick", OFF, seconds=0.5))
    assert scipy.stats.ttest_rel(OFF, GOOD).pvalue > 0.05
    assert found.choice is not None
    assert found.choice.method == "slow"
    assert found.within_margin == ()
    assert found.needed is None
    assert [row.method for row in found.rivals] == ["quick"]
    assert "4 seeds cannot tell which of 2 methods is best: slow (91.5%) has" in found.sentence
    assert "but quick (86.8%) may be as good" in found.sentence
    assert "cannot support a cheaper choice within 1 point, nor would more: take slow, at 1.5" in found.sentence


def test_how_many_seeds_would_be_needed_is_said() -> None:
    """A gap of zero on average, with a spread of one point: the interval must shrink to the margin."""
    even = tuple(round(each + shift, 4) for each, shift in zip(GOOD, (0.011, -0.010, 0.009, -0.011), strict=True))
    found = told(cells("slow", GOOD, seconds=90.0), cells("quick", even, seconds=0.5))
    assert found.needed is not None
    row, seeds = found.needed
    gaps = np.subtract(even, GOOD)
    widths = {n: scipy.stats.t.ppf(0.975, n - 1) * gaps.std(ddof=1) / n**0.5 for n in (seeds - 1, seeds)}
    assert gaps.mean() - widths[seeds] > -MARGIN > gaps.mean() - widths[seeds - 1]
    assert f"about {seeds} would be expected to, for {row.method}" in found.sentence


def test_the_best_is_said_only_where_it_is_better_than_each() -> None:
    clear = told(cells("good", GOOD), cells("poor", BAD), cells("poorer", tuple(each - 0.1 for each in BAD)))
    assert clear.is_best
    assert clear.sentence.startswith("On digits, with 5 labels a class, good (91.5%) is the best of 3 methods; ")
    doubtful = told(cells("good", GOOD), cells("off", OFF), cells("poor", BAD))
    assert not doubtful.is_best
    assert [row.method for row in doubtful.rivals] == ["off"]


def test_two_equal_rows_have_no_best_one() -> None:
    found = told(cells("one", GOOD), cells("two", GOOD))
    assert not found.is_best
    assert "one (91.5%) has the best mean, but two (91.5%) may be as good; no row is cheaper: take" in found.sentence
    assert found.within_margin == (), "equal cost is no cheaper"


def test_the_cheapest_leader_is_said_to_be_so() -> None:
    found = told(cells("good", GOOD, seconds=0.1), cells("poor", BAD, seconds=9.0))
    assert found.choice is not None
    assert found.choice.method == "good"
    assert "it is also the cheapest, at 100 CPU-ms a cell" in found.sentence


def test_too_few_seeds_recommend_nothing() -> None:
    found = told(cells("good", GOOD[:2]), cells("poor", BAD[:2]))
    assert (found.leader, found.choice, found.within_margin) == (None, None, ())
    assert found.sentence == (
        "On digits, with 5 labels a class, nothing is recommended: 2 of 2 rows are complete but have fewer than 3 "
        "seeds, which cannot tell methods apart."
    )


def test_incomplete_rows_are_left_out_and_said_to_be() -> None:
    found = told(cells("good", GOOD), cells("poor", BAD), cells("patchy", (0.99, 0.99, 0.99)))
    assert "patchy" not in found.sentence
    assert "1 incomplete row left out" in found.sentence


def test_one_complete_row_is_compared_with_nothing() -> None:
    found = told(cells("good", GOOD))
    assert "only good was measured completely" in found.sentence
    assert not found.is_best


def test_upper_bounds_are_never_recommended() -> None:
    bound = cells("oracle", (0.99, 0.98, 0.99, 0.99), oracle=True)
    found = told(cells("good", GOOD), cells("poor", BAD), bound)
    assert found.leader is not None
    assert found.leader.method == "good"
    assert "only upper bounds" in told(bound).sentence


def test_new_datasets_are_another_question() -> None:
    """On these three datasets a leads beyond doubt; it owes that to one of them."""
    lead = {"x": 0.30, "y": 0.01, "z": 0.0}
    rows = [
        each
        for dataset, gain in lead.items()
        for each in (*cells("a", tuple(v + gain for v in BAD), dataset), *cells("b", (0.5, 0.52, 0.51, 0.5), dataset))
    ]
    found = told(rows)
    assert found.is_best
    assert found.on_new_datasets is not None
    assert set(found.on_new_datasets) == {("a", "conv4"), ("b", "conv4")}
    assert "on new datasets of the kind 2 of 2 may be the best" in found.sentence


def test_at_most_three_rows_are_named_with_their_backbones() -> None:
    rows = [cells(f"m{place}", GOOD, backbone=f"b{place % 2}", seconds=None) for place in range(6)]
    found = told(*rows)
    assert len(found.rivals) == 5
    assert "which of 6 rows is best: m0 on b0 (91.5%) has the best mean" in found.sentence
    assert "and 3 more may be as good" in found.sentence
    assert sum(f"m{place} on" in found.sentence for place in range(6)) <= 3


@pytest.mark.parametrize("rows", [2, 3, 45])
def test_boards_of_any_size_have_an_answer(rows: int) -> None:
    """More rows than are held against each other pair by pair are held against the leader."""
    found = told(
        cells("good", GOOD), *(cells(f"poor{place}", tuple(v - place / 500 for v in BAD)) for place in range(rows - 1))
    )
    assert found.leader is not None
    assert found.leader.method == "good"
    assert found.is_best


def test_the_row_that_is_advised_is_one_of_the_three_that_are_named() -> None:
    """Two rivals have better means than a cheap third, of which it is said how many seeds would show it."""
    spreads = ((-0.05, 0.04, -0.03, 0.038), (0.05, -0.06, 0.03, -0.022))
    noisy = [tuple(round(v + shift, 4) for v, shift in zip(GOOD, spread, strict=True)) for spread in spreads]
    found = told(
        cells("slow", GOOD, seconds=90.0),
        *(cells(f"n{place}", each, seconds=95.0) for place, each in enumerate(noisy)),
        cells("quick", tuple(v - 0.002 for v in GOOD), seconds=0.5),
    )
    assert [row.method for row in found.rivals] == ["n0", "n1", "quick"]
    assert found.needed is not None
    assert found.needed[0].method == "quick"
    assert "slow (91.5%) has the best mean, but n0 (91.5%) and 2 more may be as good" in found.sentence
    assert "for quick" in found.sentence
    assert "n1" not in found.sentence


@pytest.mark.parametrize(
    ("shots", "words"),
    [
        (("full",), "with all labels"),
        (("1",), "with 1 label a class"),
        (("1", "5", "full"), "with 1 and 5 labels a class, and with all labels"),
        (("0", "5"), "without labels, and with 5 labels a class"),
    ],
)
def test_label_budgets_are_plain_english(shots: tuple[str, ...], words: str) -> None:
    rows = [replace(cell, shots=each) for each in shots for cell in (*cells("good", GOOD), *cells("poor", BAD))]
    assert told(rows).sentence.startswith(f"On digits, {words}, ")
