"""What searching gained on the test is told by cells with the default settings, which are no rows of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_results import run

from tlbench.core.planned_setting import PlannedSetting
from tlbench.report.report_data import build_report
from tlbench.report.results import Results, join, tidy
from tlbench.report.sections._search_gain import search_gains
from tlbench.report.sections._search_rows import search_rows
from tlbench.report.sections.search import build
from tlbench.stats.intervals import mean_interval
from tlbench.store.mlflow.planned_cells import plan_tags
from tlbench.store.mlflow.stored_experiment import StoredExperiment, StoredRun

TUNED = PlannedSetting(
    "classification", "{}", "lora(tuned)", "resnet18/random", "digits", "5", (0, 1, 2), "f" * 60 + "digi",
    tuned_from="lora", kept=(1,),
)  # fmt: skip
PROBE = replace(TUNED, method="linear_probe", tuned_from="", kept=())
LORA = replace(PROBE, method="lora")
DEFAULTS, FOUND = (0.6, 0.65, 0.7), {0: 0.7, 2: 0.8}


def trial(seed: int, number: int) -> StoredRun:
    tags = {
        "tlbench.cell": f"trial {seed} {number}", "tlbench.trial": str(number), "tlbench.setting": f"key {seed}",
        "tlbench.values": f'{{"lr":{number}}}', "tlbench.folds": "5",
    }  # fmt: skip
    won = {"tlbench.winner": "true"} if number == 2 and seed in FOUND else {}
    found = run("lora(tuned)", 0.0, seed, tags=tags | won, metrics={"validation/accuracy": 0.5 + number / 10})
    return replace(found, id=f"trial {seed} {number}")


def runs() -> list[StoredRun]:
    return [
        *(run("linear_probe", 0.5 + seed / 100, seed) for seed in range(3)),
        *(run("lora", accuracy, seed) for seed, accuracy in enumerate(DEFAULTS)),
        *(
            run("lora(tuned)", a, seed, tags={"tlbench.setting": f"key {seed}"}, **{"param.lr": f"{seed + 2}"})
            for seed, a in FOUND.items()
        ),
        *(trial(seed, number) for seed in range(3) for number in (1, 2)),
    ]


def read(*planned: PlannedSetting, found: Any = None, suite: str = "made") -> Results:
    count = sum(len(each.seeds) for each in planned)
    tags = {"tlbench.plan": f'{{"cells": {count}}}'} | plan_tags(planned, 20_000)
    return tidy(suite, "memory", StoredExperiment(tags, tuple(runs() if found is None else found)))


def rows(results: Results) -> dict[tuple[str, int], tuple[float, str]]:
    names = ("method_label", "seed", "test/accuracy", "setting")
    return {
        (method, seed): (accuracy, key)
        for method, seed, accuracy, key in zip(*(results.done[name] for name in names), strict=True)
    }


def test_a_reference_is_no_row_and_a_kept_default_is_a_cell_of_the_tuned_row() -> None:
    results = read(PROBE, TUNED)
    assert rows(results) == {
        **{("linear_probe", seed): (0.5 + seed / 100, "") for seed in range(3)},
        ("lora(tuned)", 0): (0.7, "key 0"),
        ("lora(tuned)", 1): (0.65, "key 1"),
        ("lora(tuned)", 2): (0.8, "key 2"),
    }
    assert results.untuned["test/accuracy"].tolist() == list(DEFAULTS)
    winners = results.trials[results.trials["winner"]]
    assert dict(zip(winners["seed"], winners["trial"], strict=True)) == {0: 2, 1: 1, 2: 2}
    report = build_report(results)
    assert {row.method for board in report.boards for row in board.rows} == {"linear_probe", "lora"}
    assert sum(cell.method == "lora" for cell in report.cells) == 3, "each seed has its own parameters"


def test_the_gain_is_the_mean_paired_difference_over_seeds() -> None:
    report = build_report(read(PROBE, TUNED))
    (gain,) = search_gains(report.cells, report.results.untuned, search_rows(report.cells, report.results.trials))
    assert (gain.method, gain.seeds, gain.kept, gain.trainings) == ("lora", 3, 1, 3 * 2 * 5)
    assert gain.default == pytest.approx(0.65)
    assert gain.tuned == pytest.approx(0.65 + 0.2 / 3)
    usual = mean_interval([0.7 - 0.6, 0.0, 0.8 - 0.7])
    assert (gain.gain.mean, gain.gain.low, gain.gain.high) == pytest.approx((usual.mean, usual.low, usual.high))
    table = build(report).tables[0]
    assert table.name == "search_gain"
    assert table.parts[0].body[0][5:] == ("+6.7", "−7.7 to +21.0", "65.0", "71.7", "3", "1", "30", "12.0 s")


def test_the_interval_of_a_gain_contains_the_error_of_the_test_set() -> None:
    """Two seeds that gain as many answers, but not the same ones, on ten test examples."""
    default = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    tuned = [[1, 1, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1, 1, 0, 0, 0]]
    two = replace(TUNED, seeds=(0, 1), kept=())
    found = [
        *(run("lora", 0.4, seed, correct=default) for seed in (0, 1)),
        *(run("lora(tuned)", 0.6, seed, correct=tuned[seed], tags={"tlbench.setting": "k"}) for seed in (0, 1)),
    ]
    results = read(two, found=found)
    cells = build_report(results).cells
    (plain,) = search_gains(cells, results.untuned, ())
    (whole,) = search_gains(cells, results.untuned, (), results.details)
    assert plain.gain.mean == whole.gain.mean == pytest.approx(0.2)
    assert plain.gain.low == plain.gain.high, "both seeds gain two answers"
    assert whole.gain.low is not None
    assert whole.gain.high is not None
    assert whole.gain.low < 0.1 < 0.3 < whole.gain.high


def test_a_row_that_the_suite_lists_stays_one() -> None:
    results = read(PROBE, TUNED, LORA)
    found = rows(results)
    assert len(found) == 9
    assert [found["lora", seed] for seed in range(3)] == [(accuracy, "") for accuracy in DEFAULTS]
    assert found["lora(tuned)", 1] == (0.65, "key 1")
    assert len(results.untuned) == 3


def test_suites_that_share_a_default_keep_their_rows_when_joined() -> None:
    plain = read(PROBE, LORA, found=[*runs()[:6]], suite="plain")
    assert plain.untuned.empty
    for both in (join([plain, read(PROBE, TUNED)]), join([read(PROBE, TUNED), plain])):
        assert len(rows(both)) == len(both.done) == 9
        assert len(both.untuned) == 3
        assert {c.method for c in build_report(both).cells} == {"linear_probe", "lora", "lora(tuned)"}


def test_results_of_before_have_no_untuned_cells() -> None:
    results = tidy("made", "memory", StoredExperiment({}, tuple(runs())))
    assert len(results.done) == 8
    assert results.untuned.empty
    report = build_report(results)
    assert search_gains(report.cells, results.untuned, ()) == ()
    assert [table.name for table in build(report).tables if table] == ["search"]


def test_a_search_under_way_has_no_gain_yet() -> None:
    waiting = [each for each in runs() if each.params["method_label"] != "lora(tuned)"]
    results = read(PROBE, replace(TUNED, kept=()), found=waiting)
    assert {method for method, _ in rows(results)} == {"linear_probe"}
    assert results.untuned.empty
