"""What a report recommends: from cells made here, with scipy's verdicts and words that say what it rests on."""

from __future__ import annotations

import pytest
import scipy.stats

from tlbench.core.errors import UserError
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.recommendation import recommend

GOOD, NEAR, BAD = (0.91, 0.93, 0.92, 0.90), (0.92, 0.90, 0.93, 0.91), (0.50, 0.53, 0.51, 0.49)


def cells(
    method: str,
    accuracies: tuple[float, ...],
    dataset: str = "digits",
    shots: str = "5",
    backbone: str = "conv4",
    seconds: float | None = 2.0,
    trainable: float | None = 1000.0,
    oracle: bool = False,
) -> list[ComparableCell]:
    return [
        ComparableCell(
            "classification", "classification", method, method, backbone, dataset, shots, seed, accuracy,
            device_seconds=seconds, trainable=trainable, stored_bytes=2048.0, oracle=oracle,
        )
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


THREE = [*cells("slow", GOOD, seconds=90.0), *cells("quick", NEAR, seconds=0.5), *cells("poor", BAD, seconds=0.1)]


def test_the_set_and_the_cheapest_of_it() -> None:
    found = recommend(THREE)
    assert found is not None
    assert [each.method for each in found.best] == ["quick", "slow"]
    assert found.cheapest is not None
    assert found.cheapest.method == "quick"  # poor costs less, but is worse
    assert (found.rows, found.unranked, found.seeds, found.datasets, found.shots) == (3, 0, 4, ("digits",), ("5",))
    assert found.sentence == (
        "On digits, with 5 labels a class, 2 of 3 rows cannot be told from the best: quick (91.5%), slow (91.5%); the "
        "cheapest of them is quick, at 500 CPU-ms a cell, 1 k trained parameters and 2 KiB to store a task (4 seeds); "
        "that holds for this dataset, new ones may differ."
    )


def test_rows_fall_out_by_one_sided_tests_over_their_rivals() -> None:
    for shift in (0.0, 0.01, 0.02, 0.03, 0.04):
        worse = tuple(round(each - shift, 6) for each in (0.90, 0.94, 0.91, 0.92))
        p = scipy.stats.ttest_rel(worse, GOOD, alternative="less").pvalue
        found = recommend([*cells("good", GOOD), *cells("worse", worse), *cells("poor", BAD)])
        assert found is not None
        assert ("worse" in [each.method for each in found.best]) == (p >= 0.025)


def test_a_clear_winner() -> None:
    found = recommend([*cells("good", GOOD), *cells("poor", BAD)])
    assert found is not None
    assert found.sentence.startswith(
        "On digits, with 5 labels a class, good is the best of 2 rows (91.5%), at 2.0 CPU-s"
    )


def test_nothing_to_tell_apart() -> None:
    found = recommend([*cells("one", GOOD), *cells("two", NEAR)])
    assert found is not None
    assert "none of 2 rows can be told from the best" in found.sentence


def test_too_few_seeds_recommend_nothing() -> None:
    found = recommend([*cells("good", GOOD[:2]), *cells("poor", BAD[:2])])
    assert found is not None
    assert (found.best, found.cheapest, found.rows, found.unranked) == ((), None, 0, 2)
    assert found.sentence == (
        "On digits, with 5 labels a class, nothing is recommended: 2 of 2 rows are complete but have fewer than 3 "
        "seeds, which cannot tell methods apart."
    )


def test_incomplete_rows_are_left_out_and_said_to_be() -> None:
    found = recommend([*THREE, *cells("patchy", (0.99, 0.99, 0.99))])
    assert found is not None
    assert (found.rows, found.unranked) == (3, 1)
    assert "patchy" not in found.sentence
    assert "1 incomplete row left out" in found.sentence


def test_one_complete_row_is_compared_with_nothing() -> None:
    found = recommend(cells("good", GOOD))
    assert found is not None
    assert "only good was measured completely" in found.sentence


def test_upper_bounds_are_never_recommended() -> None:
    bound = cells("oracle", (0.99, 0.98, 0.99, 0.99), oracle=True)
    found = recommend([*THREE, *bound])
    assert found is not None
    assert "oracle" not in [each.method for each in found.best]
    alone = recommend(bound)
    assert alone is not None
    assert "only upper bounds" in alone.sentence


def test_a_dataset_and_a_budget_narrow_the_question() -> None:
    here = [*cells("a", GOOD), *cells("b", BAD), *cells("a", BAD, shots="full"), *cells("b", GOOD, shots="full")]
    there = [*cells("a", BAD, "glyphs"), *cells("b", GOOD, "glyphs")]
    best = {
        (dataset, shots): [each.method for each in found.best]
        for dataset, shots in (("digits", "5"), ("digits", "full"), ("glyphs", ""))
        if (found := recommend(here + there, dataset, shots))
    }
    assert best == {("digits", "5"): ["a"], ("digits", "full"): ["b"], ("glyphs", ""): ["b"]}


@pytest.mark.parametrize(("asked", "measured"), [("7", "5"), ("1", "2"), ("50", "20"), ("full", "20"), ("20", "20")])
def test_a_budget_that_was_not_measured_has_a_stand_in(asked: str, measured: str) -> None:
    found = recommend([each for shots in ("2", "5", "20") for each in cells("a", GOOD, shots=shots)], shots=asked)
    assert found is not None
    assert found.shots == (measured,)
    assert ("nearest to" in found.sentence) == (asked != measured)


def test_bad_questions_name_the_nearest_answer() -> None:
    with pytest.raises(UserError, match="digits"):
        recommend(THREE, "digitz")
    with pytest.raises(UserError, match="whole number or full"):
        recommend(THREE, shots="many")
    assert recommend([]) is None


def test_new_datasets_are_another_question() -> None:
    """On these three datasets a leads beyond doubt; it owes that to one of them."""
    lead = {"x": 0.30, "y": 0.01, "z": 0.0}
    spread = [
        each
        for dataset, gain in lead.items()
        for each in (*cells("a", tuple(v + gain for v in BAD), dataset), *cells("b", (0.5, 0.52, 0.51, 0.5), dataset))
    ]
    found = recommend(spread)
    assert found is not None
    assert [each.method for each in found.best] == ["a"]
    assert found.on_new_datasets is not None
    assert set(found.on_new_datasets) == {("a", "conv4"), ("b", "conv4")}
    assert "on new datasets of the kind 2 of 2 may be the best" in found.sentence


def test_backbones_are_named_where_there_are_several_and_long_lists_are_cut() -> None:
    rows = [each for place in range(6) for each in cells(f"m{place}", GOOD, backbone=f"b{place % 2}", seconds=None)]
    found = recommend(rows)
    assert found is not None
    assert len(found.best) == 6
    assert "m0 on b0 (91.5%)" in found.sentence
    assert "and 2 more" in found.sentence
    assert found.cheapest is not None  # by trained parameters
