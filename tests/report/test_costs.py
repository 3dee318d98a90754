"""What rows cost: bills of like devices, what cells share beside them, and what older results do not know."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest
from made_results import results, run

from tlbench.core.record import SharedCost
from tlbench.report import table as writers
from tlbench.report.built_sections import build_section
from tlbench.report.report_data import Report, build_report
from tlbench.report.rows.cost import Cost, prices
from tlbench.report.section_plugins import load_section, section_plugins
from tlbench.report.sections import cost as section
from tlbench.report.sections._summary_protocols import time_text
from tlbench.report.shared_trainings import shared_trainings
from tlbench.report.table_columns import shared_text
from tlbench.store.mlflow.stored_experiment import StoredRun

START = SharedCost(
    kind="pre-training", key="pretrained-a", label="pre-training conv4/simclr", device_seconds=312.0, seconds=400.0
)
SEEDS = 4


def billed(method: str, accuracy: float, seed: int, seconds: float, shared: Any = (), **metrics: float) -> StoredRun:
    told = {"cost/device_seconds": seconds, "cost/embedding_seconds": 1.0, "cost/gpus": 0.0} | metrics
    tags = {"tlbench.shared": json.dumps([each.model_dump(mode="json") for each in shared])} if shared else {}
    return run(method, accuracy + seed / 1000, seed, metrics=told, tags=tags)


def of_rows(report: Report) -> dict[str, Cost]:
    return {row.method: row.cost for board in report.boards for row in board.rows}


def table(report: Report, name: str) -> list[dict[str, str]]:
    built = build_section(load_section(section_plugins()["cost"]), report)
    return list(csv.DictReader(StringIO(writers.csv(built.tables[name]))))


@pytest.fixture(scope="module")
def report() -> Report:
    teachers = [
        SharedCost(kind="teacher", key=f"teachers-{seed}", label="training the teacher x", device_seconds=10.0)
        for seed in range(SEEDS)
    ]
    runs = []
    for seed in range(SEEDS):
        runs.append(billed("probe", 0.7, seed, 5.0 + seed, [START]))
        runs.append(billed("finetune", 0.8, seed, 50.0, [START]))
        runs.append(billed("distillation", 0.75, seed, 20.0, [START, teachers[seed]]))
        runs.append(billed("scratch", 0.6, seed, 40.0))
    return build_report(results(runs))


def test_a_shared_training_counts_once_and_says_how_many_cells_share_it(report: Report) -> None:
    costs = of_rows(report)
    (start,) = costs["probe"].shared
    assert (start.device_seconds, start.cells) == (312.0, 3 * SEEDS)
    assert costs["probe"].shared == costs["finetune"].shared
    assert (costs["probe"].shared_seconds, costs["scratch"].shared_seconds) == (312.0, None)
    assert shared_text(costs["probe"]) == "5.2 CPU-min, used by 12 cells"
    assert costs["distillation"].shared_seconds == 312.0 + SEEDS * 10.0
    assert shared_text(costs["distillation"]) == "5.9 CPU-min in 5 trainings, each used by 1 to 12 cells"
    assert shared_text(costs["scratch"]) == "–"

    listed = {row["kind"]: row for row in table(report, "shared")}
    assert (listed["pre-training"]["device_seconds"], listed["pre-training"]["cells"]) == ("312.0", "12")
    assert [listed["teacher"][name] for name in ("trainings", "device_seconds", "cells")] == ["4", "40.0", "4"]
    assert listed["pre-training"]["seconds"] == "400.0"
    assert listed["teacher"]["seconds"] == "", "not known"


def test_a_bill_is_a_cell_s_own(report: Report) -> None:
    rows = {row["method"]: row for row in table(report, "costs")}
    assert float(rows["probe"]["device_seconds"]) == 6.5, "the median of 5, 6, 7 and 8"
    assert (rows["probe"]["device"], rows["probe"]["embedding_seconds"]) == ("CPU", "1.0")
    assert float(rows["probe"]["seconds"]) == 2.0
    assert float(rows["finetune"]["shared_seconds"]) == 312.0
    assert time_text(report.cells) == "7.8 CPU-min", "26 + 200 + 80 + 160 seconds"


def test_the_figure_is_drawn_by_bills(report: Report) -> None:
    frame = section.frame(report.boards)
    assert set(frame["axis"]) == {"CPU-seconds a cell"}
    on_line = frame[frame["front"].notna()]
    assert dict(zip(on_line["method"], on_line["cost"], strict=True)) == {
        "probe": 6.5, "distillation": 20.0, "finetune": 50.0,
    }  # fmt: skip


def test_seconds_of_unlike_devices_are_never_put_in_one_figure_or_median() -> None:
    gpus = {"cost/gpus": 1.0}
    runs = [billed("cpu", 0.7, seed, 5.0) for seed in range(SEEDS)]
    runs += [billed("gpu", 0.8, seed, 3.0, **gpus) for seed in range(SEEDS)]
    runs += [billed("both", 0.6, seed, 4.0, **(gpus if seed else {})) for seed in range(SEEDS)]
    found = build_report(results(runs))
    costs = of_rows(found)
    assert {name: (each.device_seconds, each.device) for name, each in costs.items()} == {
        "cpu": (5.0, "CPU"), "gpu": (3.0, "GPU"), "both": (None, ""),
    }  # fmt: skip
    frame = section.frame(found.boards)
    assert dict(zip(frame["axis"], frame["method"], strict=True)) == {
        "CPU-seconds a cell": "cpu", "GPU-seconds a cell": "gpu",
    }  # fmt: skip
    assert prices([costs["cpu"], costs["gpu"]]) == [(float("inf"), float("inf"))] * 2


def test_results_from_before_bills_were_kept_show_wall_seconds_and_claim_no_more() -> None:
    old = build_report(results(run(name, 0.5 + seed / 100, seed) for name in ("a", "b") for seed in range(SEEDS)))
    assert all((each.device_seconds, each.shared, each.seconds) == (None, (), 2.0) for each in of_rows(old).values())
    assert set(section.frame(old.boards)["axis"]) == {"wall seconds a cell"}
    assert [row["device_seconds"] for row in table(old, "costs")] == ["", ""]
    assert time_text(old.cells) == "16.0 s by the clock"

    runs = [run("a", 0.5 + seed / 100, seed) for seed in range(SEEDS)]
    mixed = build_report(results([*runs, *(billed("b", 0.5, seed, 3.0) for seed in range(SEEDS))]))
    frame = section.frame(mixed.boards)
    assert frame["method"].tolist() == ["b"], "what has no bill is not drawn among bills"


def test_bills_are_ordered_as_far_as_they_were_measured() -> None:
    def priced(seconds: float | None, trainable: float | None) -> Cost:
        return Cost(9.0, trainable, None, None, device_seconds=seconds, device="CPU" if seconds else "")

    one, other, unknown = prices([priced(0.2161, 300.0), priced(0.2204, 100.0), priced(None, 1.0)])
    assert other < one < unknown, "the third digit is noise, so that parameters decide"


def test_a_text_that_was_cut_tells_nothing_and_what_one_cell_knows_holds_for_all() -> None:
    known = START.model_dump(mode="json")
    unknown = known | {"device_seconds": None}
    first, second, third = shared_trainings([json.dumps([unknown]), json.dumps([known]), '[{"kind": "pre... [cut'])
    assert first == second
    assert (first[0].device_seconds, first[0].cells) == (312.0, 2)
    assert third == ()
