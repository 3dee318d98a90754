"""The table of a paper, the orders on backbones, and what reliability and pairs are told of: by hand."""

from __future__ import annotations

from statistics import fmean, stdev

import numpy as np
import pytest
import scipy.stats
from made_results import results, run

from tlbench.report import report_data
from tlbench.report.rows.leaderboard import Board
from tlbench.report.sections._backbones_orderings import orderings_table
from tlbench.report.sections._datasets_paper_table import paper_table
from tlbench.report.sections._pairwise_examples import examples_table
from tlbench.report.sections._pairwise_table import pairs_table
from tlbench.report.sections._reliability_left_out import left_out_table
from tlbench.report.sections._reliability_outliers import outliers_table
from tlbench.report.sections._reliability_spread import spread_table
from tlbench.report.table import Bold
from tlbench.stats.contrasts import paired_contrast
from tlbench.stats.finite_test_set import difference_units, error_of_test_sets

LEVEL = {"best": 0.80, "near": 0.79, "far": 0.50}
NOISE = {"best": (0.01, -0.01, 0.00, 0.02), "near": (-0.01, 0.02, 0.00, 0.01), "far": (0.00, 0.01, -0.01, 0.005)}
RUNS = [
    run(name, LEVEL[name] + wobble + shift, seed, dataset=dataset)
    for dataset, shift in (("digits", 0.0), ("glyphs", 0.1))
    for name in LEVEL
    for seed, wobble in enumerate(NOISE[name])
]


@pytest.fixture(scope="module")
def boards() -> tuple[Board, ...]:
    return report_data.build_report(results(RUNS, baseline="far")).boards


def test_cells_are_mean_and_deviation_over_seeds(boards: tuple[Board, ...]) -> None:
    table = paper_table(boards)
    values = [LEVEL["near"] + wobble for wobble in NOISE["near"]]
    (record,) = [row for row in table.records if row["method"] == "near" and row["dataset"] == "digits"]
    assert record["mean"] == pytest.approx(fmean(values))
    assert record["sd"] == pytest.approx(stdev(values))
    assert record["n"] == 4
    (part,) = table.parts
    assert part.head == ("method", "backbone", "digits, 5 shots", "glyphs, 5 shots")
    body = {row[0]: row for row in part.body}
    assert body["near"][2] == f"{100 * fmean(values):.1f} ± {100 * stdev(values):.1f} †"
    assert part.note.endswith("n = 4.")


def test_the_best_is_bold_and_what_is_not_separable_has_a_dagger(boards: tuple[Board, ...]) -> None:
    (part,) = paper_table(boards).parts
    body = {row[0]: row for row in part.body}
    assert [isinstance(cell, Bold) for cell in body["best"]] == [False, False, True, True]
    assert [cell.endswith("†") for cell in body["near"][2:]] == [True, True]
    assert [cell.endswith("†") for cell in body["far"][2:]] == [False, False]


def test_upper_bounds_come_last_and_are_never_the_best() -> None:
    bounds = [run("sees_all", 0.99, seed, tags={"tlbench.oracle": "true"}) for seed in range(4)]
    few = [run("two_seeds", 0.95 + s / 100, s, dataset=name) for name in ("digits", "glyphs") for s in range(2)]
    (part,) = paper_table(report_data.build_report(results([*RUNS, *bounds, *few])).boards).parts
    body = {row[0]: row for row in part.body}
    assert part.body[-1][0] == "sees_all (upper bound)"
    assert not any(isinstance(cell, Bold) or "†" in cell for cell in (*part.body[-1], *body["two_seeds"]))
    assert body["two_seeds"][2].endswith("(2)"), "where n varies it is told"
    assert isinstance(body["best"][2], Bold)


def test_of_two_seeds_nothing_is_called_the_best() -> None:
    (part,) = paper_table(
        report_data.build_report(results(run("a", 0.5 + seed / 10, seed) for seed in range(2))).boards
    ).parts
    assert not isinstance(part.body[0][2], Bold)


def test_a_wide_table_is_split_by_shots() -> None:
    wide = [
        run("a", 0.5, seed, dataset=dataset, shots=shots)
        for dataset in ("d1", "d2", "d3", "d4")
        for shots in ("full", "1")
        for seed in range(3)
    ]
    first, second = paper_table(report_data.build_report(results(wide)).boards).parts
    assert first.title.endswith("1 shot")
    assert second.title.endswith("all labels")
    assert first.head[2:] == tuple(f"{name}, 1 shot" for name in ("d1", "d2", "d3", "d4"))


def test_orders_on_two_backbones() -> None:
    gain = {"one": (0.1, 0.2, 0.3, 0.4), "two": (0.1, 0.3, 0.2, 0.4)}
    runs = [
        run(f"m{number}", value + seed / 1000, seed, backbone_label=backbone)
        for backbone, values in gain.items()
        for number, value in enumerate(values)
        for seed in range(3)
    ]
    (record,) = orderings_table(report_data.build_report(results(runs)).boards).records
    assert record["tau"] == pytest.approx(scipy.stats.kendalltau(gain["one"], gain["two"]).statistic)
    assert (record["first"], record["second"], record["methods"]) == ("one", "two", 4)
    two_methods = [each for each in runs if each.params["method_label"] in ("m0", "m1")]
    assert not orderings_table(report_data.build_report(results(two_methods)).boards), "two methods make no order"


def test_rank_wins_and_pairs_of_a_board(boards: tuple[Board, ...]) -> None:
    (board,) = boards
    rows = {row.method: row for row in board.rows}
    assert [rows[name].ranks for name in LEVEL] == [(1, 2), (1, 2), (3, 3)]
    assert rows["best"].wins is not None
    assert (rows["best"].wins.win, rows["best"].wins.tie, rows["best"].wins.loss) == (2, 0, 0)
    assert rows["far"].wins is None, "the baseline is not held against itself"
    assert rows["best"].across is not None
    assert board.floor is not None
    assert 0 < board.floor < 0.3
    pairs = {(row["method"], row["other_method"]): row for row in pairs_table(boards).records}
    assert set(pairs) == {("best", "near"), ("best", "far"), ("near", "far")}
    assert pairs["best", "far"]["verdict"] == 1
    assert pairs["best", "near"]["verdict"] == 0


def test_spread_is_pooled_within_settings(boards: tuple[Board, ...]) -> None:
    records = {row["method"]: row for row in spread_table(boards).records}
    assert records["best"]["sd"] == pytest.approx(stdev(NOISE["best"]))


def test_ranks_without_a_dataset() -> None:
    turned = [
        run(name, LEVEL[name] - (0.5 if name == "best" else 0), seed, dataset="odd")
        for name in LEVEL
        for seed in range(4)
    ]
    table = left_out_table(report_data.build_report(results([*RUNS, *turned])).boards)
    ranks = {(row["method"], row["left_out"]): row["rank_without"] for row in table.records}
    assert ranks["best", "odd"] == 1
    assert ranks["best", "digits"] == 2
    assert not left_out_table(report_data.build_report(results([each for each in RUNS if "digits" in each.id])).boards)


def test_a_seed_that_stands_out_is_named() -> None:
    runs = [run(f"m{number}", 0.5 + 0.001 * seed + 0.1 * number, seed) for number in range(4) for seed in range(5)]
    assert not outliers_table(report_data.build_report(results(runs)).boards)
    runs[7] = run("m1", 0.2, 2)
    (record,) = outliers_table(report_data.build_report(results(runs)).boards).records
    assert (record["method"], record["seed"], record["accuracy"]) == ("m1", 2, 0.2)


def test_example_by_example_counts_and_tests_with_both_errors() -> None:
    generator = np.random.default_rng(0)
    chances = {"ours": 0.9, "theirs": 0.7}
    bits = {name: [generator.random(200) < chance for _ in range(3)] for name, chance in chances.items()}
    runs = [
        run(name, float(own.mean()), seed, correct=own) for name, each in bits.items() for seed, own in enumerate(each)
    ]
    (record,) = examples_table(report_data.build_report(results(runs)).boards).records
    gain = np.sum(bits["ours"], axis=0) - np.sum(bits["theirs"], axis=0)
    assert (record["better"], record["worse"], record["units"]) == ((gain > 0).sum(), (gain < 0).sum(), 200)
    units = {name: {("digits", "5"): dict(enumerate(map(np.float64, own)))} for name, own in bits.items()}
    means = {
        name: {("digits", "5"): {s: float(own.mean()) for s, own in enumerate(each)}} for name, each in bits.items()
    }
    error = error_of_test_sets(difference_units(units["ours"], units["theirs"]), means["ours"])
    expected = paired_contrast(means["ours"], means["theirs"], tests=error)
    assert expected is not None
    assert record["p_adjusted"] == pytest.approx(expected.p)
    runs[0] = run("ours", 0.9, 0, correct=bits["ours"][0][:50])
    report = report_data.build_report(results(runs))
    assert not examples_table(report.boards), "other test examples are not compared"
