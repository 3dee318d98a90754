"""The tables' numbers against scipy and against sums done here."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.rows.leaderboard import Board, LeaderRow, leaderboard
from tlbench.report.rows.settings import SettingRow, settings
from tlbench.report.sections._datasets_paper_table import paper_table
from tlbench.stats.contrasts import baseline_contrasts, holm


def cell(method: str, seed: int, accuracy: float, **other: str) -> ComparableCell:
    """Return a cell of 5-shot digits on conv4, unless said otherwise."""
    told = {"protocol": "classification", "backbone": "conv4", "dataset": "digits", "shots": "5"} | other
    return ComparableCell(
        told["protocol"], told["protocol"], method, method, told["backbone"], told["dataset"], told["shots"], seed,
        accuracy, seconds=float(seed), trainable=10.0,
    )  # fmt: skip


def cells(method: str, *accuracies: float, **other: str) -> list[ComparableCell]:
    """Return a cell for each accuracy, with seeds 0, 1, ..."""
    return [cell(method, seed, accuracy, **other) for seed, accuracy in enumerate(accuracies)]


def by_method(rows: tuple[SettingRow, ...]) -> dict[str, SettingRow]:
    return {row.method: row for row in rows}


def only(boards: tuple[Board, ...]) -> dict[str, LeaderRow]:
    (board,) = boards
    return {row.method: row for row in board.rows}


PROBE = (0.50, 0.56, 0.53)
LORA = (0.61, 0.62, 0.66)
TUNE = (0.51, 0.55, 0.56)


def test_settings_are_scipys_paired_t_tests_with_holm() -> None:
    """Of two rows scipy's; of three, whose variances are moderated, Holm's of the family's."""
    alone = by_method(settings([*cells("probe", *PROBE), *cells("lora", *LORA)], "probe"))["lora"].difference
    test = scipy.stats.ttest_rel(LORA, PROBE)
    assert alone.contrast is not None
    assert alone.contrast.estimate.low == pytest.approx(test.confidence_interval().low)
    assert alone.p_holm == pytest.approx(test.pvalue)
    rows = by_method(settings([*cells("probe", *PROBE), *cells("lora", *LORA), *cells("tune", *TUNE)], "probe"))
    found = {name: rows[name].difference.contrast for name in ("lora", "tune")}
    adjusted = dict(zip(found, holm([each.p if each else None for each in found.values()]), strict=True))
    assert {name: rows[name].difference.p_holm for name in found} == adjusted
    assert rows["lora"].accuracy.mean == pytest.approx(0.63)
    assert rows["lora"].cost.seconds == 1.0  # the median of 0, 1, 2
    assert rows["lora"].cost.peak_memory is None
    assert rows["probe"].difference.remark == "baseline"


def test_family_of_holm_is_the_place_where_methods_meet() -> None:
    here = [*cells("probe", *PROBE), *cells("lora", *LORA)]
    there = [*cells("probe", *PROBE, dataset="glyphs"), *cells("lora", *TUNE, dataset="glyphs")]
    alone = by_method(settings(here, "probe"))["lora"].difference
    beside = by_method(tuple(row for row in settings(here + there, "probe") if row.dataset == "digits"))["lora"]
    assert alone.contrast is not None
    assert alone.p_holm == beside.difference.p_holm == alone.contrast.p


def test_settings_say_why_a_difference_is_missing() -> None:
    rows = settings([*cells("probe", *PROBE), *cells("lora", *LORA, backbone="resnet18")], "probe")
    lora = by_method(rows)["lora"].difference
    assert lora.contrast is None
    assert lora.remark == "probe has no result here"
    apart = settings([cell("probe", 0, 0.5), cell("lora", 1, 0.6)], "probe")
    assert "in common" in by_method(apart)["lora"].difference.remark
    single = by_method(settings([cell("probe", 0, 0.5), cell("lora", 0, 0.6)], "probe"))["lora"].difference
    assert single.contrast is not None
    assert single.contrast.estimate.mean == pytest.approx(0.1)
    assert "too few seeds" in single.remark


def test_settings_order() -> None:
    shots = [*cells("a", 0.9, shots="full"), *cells("a", 0.1, shots="20"), *cells("b", 0.2, shots="20")]
    assert [(row.shots, row.method) for row in settings(shots, "")] == [("20", "b"), ("20", "a"), ("full", "a")]


def test_leaderboard_is_welch_over_strata() -> None:
    probe = [*cells("probe", *PROBE), *cells("probe", 0.8, 0.81, 0.83, dataset="glyphs")]
    lora = [*cells("lora", *LORA), *cells("lora", 0.7, 0.9, 0.85, dataset="glyphs")]
    row = only(leaderboard(probe + lora, "probe"))["lora"]
    digits = [a - b for a, b in zip(LORA, PROBE, strict=True)]
    glyphs = [a - b for a, b in zip((0.7, 0.9, 0.85), (0.8, 0.81, 0.83), strict=True)]
    expected = scipy.stats.ttest_ind(digits, [-x for x in glyphs], equal_var=False)
    assert row.difference.contrast is not None
    assert row.difference.p_holm == pytest.approx(expected.pvalue)
    assert row.difference.contrast.estimate.high == pytest.approx(expected.confidence_interval().high / 2)
    assert (row.have, row.expected, row.rank) == (6, 6, 1)


def test_differences_of_a_board_are_one_family() -> None:
    """Two datasets, one of which spreads far more: no row has more degrees of freedom than all of them together."""
    generator = np.random.default_rng(0)
    rows = [
        each
        for method in ("probe", "a", "b", "c")
        for dataset, spread in (("digits", 0.01), ("glyphs", 0.1))
        for each in cells(method, *(0.5 + spread * generator.normal(size=3)), dataset=dataset)
    ]
    found = only(leaderboard(rows, "probe"))
    expected = baseline_contrasts({name: row.scores for name, row in found.items()}, "probe")
    for name, each in expected.items():
        contrast = found[name].difference.contrast
        assert contrast is not None
        assert each.contrast is not None
        assert found[name].difference.p_holm == pytest.approx(each.p_holm)
        assert contrast.estimate.low == pytest.approx(each.contrast.estimate.low)


def test_incomplete_rows_stand_below_however_good() -> None:
    rows = [*cells("probe", *PROBE), *cells("lora", *LORA), *cells("best", 0.99, 0.98)]
    (board,) = leaderboard(rows, "probe")
    assert [(row.method, row.rank) for row in board.rows] == [("lora", 1), ("probe", 2), ("best", None)]
    assert board.unranked[0].remark == "1 of 3 cells missing"
    assert board.comparison is not None
    assert [method for method, _ in board.comparison.names] == ["lora", "probe"]


def test_two_seeds_are_shown_and_not_ranked() -> None:
    row = only(leaderboard([*cells("probe", 0.5, 0.6), *cells("lora", 0.7, 0.8)], "probe"))["lora"]
    assert row.rank is None
    assert row.remark == "fewer than 3 seeds"
    assert row.accuracy.low is not None


def test_equal_means_share_a_rank() -> None:
    (board,) = leaderboard([*cells("a", *PROBE), *cells("b", *PROBE), *cells("c", *TUNE)], "")
    assert [(row.method, row.rank) for row in board.rows] == [("c", 1), ("a", 2), ("b", 2)]


def test_backbones_that_share_no_dataset_stand_apart() -> None:
    images = [*cells("probe", *PROBE), *cells("probe", *LORA, dataset="glyphs")]
    other = cells("probe", *TUNE, dataset="glyphs", backbone="resnet18")
    texts = cells("probe", *TUNE, dataset="pydocs", backbone="text")
    boards = leaderboard(images + other + texts, "probe")
    assert [board.datasets for board in boards] == [("glyphs",), ("digits", "glyphs"), ("pydocs",)]
    assert [len(board.rows) for board in boards] == [2, 1, 1]
    assert boards[2].rows[0].rank == 1


def test_rows_of_grids_with_other_datasets_meet_where_both_were_planned() -> None:
    """Lora was planned on digits alone: it is complete, and leads there; glyphs is a question that it was not asked."""
    measured = [*cells("probe", *PROBE), *cells("probe", *PROBE, dataset="glyphs"), *cells("lora", *LORA)]
    digits, glyphs = ({(name, "5", seed) for seed in range(3)} for name in ("digits", "glyphs"))
    plan = {("classification", "probe", "conv4"): digits | glyphs, ("classification", "lora", "conv4"): digits}
    both, alone = leaderboard(measured, "probe", planned=plan)
    assert both.datasets == ("digits",)
    assert [(row.method, row.rank, row.expected) for row in both.rows] == [("lora", 1, 3), ("probe", 2, 3)]
    assert alone.datasets == ("digits", "glyphs")
    assert [row.method for row in alone.rows] == ["probe"]
    plan["classification", "lora", "conv4"] = digits | glyphs
    (board,) = leaderboard(measured, "probe", planned=plan)
    remarks = {row.method: row.remark for row in board.rows}
    assert remarks["lora"] == "3 of 6 cells missing, among them 1 of 2 combinations of dataset and shots"
    (part,) = paper_table([board]).parts
    assert {row[0]: row[3] for row in part.body}["lora"] == "–", "what is missing is not made up"


def test_titles_stay_short() -> None:
    names = [f"glyphs(variants=10): DejaVuSans -> Font{number}" for number in range(3)]
    (board,) = leaderboard([each for name in names for each in cells("probe", *PROBE, dataset=name)], "probe")
    assert board.title == "classification: 3 datasets of glyphs(variants=10)"
    (few,) = leaderboard([*cells("probe", *PROBE), *cells("probe", *PROBE, dataset="glyphs")], "probe")
    assert few.title == "classification: digits, glyphs"
    assert text.datasets(names[:1], names[0]) == names[0]
    assert text.short([*names[:2], "digits"]) == {
        names[0]: "DejaVuSans -> Font0", names[1]: "DejaVuSans -> Font1", "digits": "digits"
    }  # fmt: skip
    assert text.short(["a: x", "a: y", "y"]) == {"a: x": "a: x", "a: y": "a: y", "y": "y"}, "one name stays one"
    assert text.datasets(list("abcde"), "a, b, c, d and e") == "5 datasets"


def test_accuracy_intervals_stay_possible() -> None:
    row = only(leaderboard(cells("a", 0.99, 0.9, 1.0), ""))["a"]
    assert row.accuracy.high == 1.0
