"""Searches on a real cluster: all settings in one experiment, killed workers, a killed driver, and what is stored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from test_kill_and_resume import wait_for

from tlbench.core.record import STOPPED, Record
from tlbench.planning.prepare import prepare
from tlbench.planning.search_results import search_results
from tlbench.report.results import load
from tlbench.search.objective import VALUE_CURVE, beats_by_standard_error, best_record
from tlbench.search.study import Study
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell
from tlbench.worker.segment_states import STATES

TRIALS = 7
SUITE = {
    "name": "searched",
    "baseline": "linear_probe",
    "grids": [
        {
            "protocol": "classification",
            "methods": [
                "linear_probe",
                {"name": "finetune", "params": {"epochs": 18}},
                {"name": "gradual_unfreezing", "params": {"epochs": 6, "order": "top_down"}},
            ],
            "backbones": [{"name": "conv4", "width": 8}],
            "datasets": ["digits"],
            "shots": [1, 5],
            "seeds": 2,
        }
    ],
    "search": {
        "trials": TRIALS,
        "searcher": "optuna",
        "scheduler": "asha",
        "fold_below": 0,
        # Four layer groups and the head in six epochs: two epochs a stage do not fit, so half of these trials fail.
        "space": {
            "gradual_unfreezing": {
                "epochs_per_stage": {"choice": [1, 2], "when": {"order": "top_down"}},
                "depth": {"choice": [None]},
            }
        },
    },
}


def stored(workspace: Path) -> list[Record]:
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return list(ledger.records())


def trials(workspace: Path) -> dict[str, Record]:
    return {record.id: record for record in stored(workspace) if record.cell.trial is not None}


def workers_of(driver: int) -> list[int]:
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "ray::ImplicitFunc" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_finds_the_same(
    tmp_path: Path, environment: dict[str, str], write_suite: Callable[[dict[str, Any]], Path], tlbench: Any
) -> None:
    suite = write_suite(SUITE)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    undisturbed = tlbench("run", str(suite), "--workspace", str(calm))
    assert undisturbed.returncode == 0, undisturbed.stderr
    check_what_is_stored(calm)
    check_what_mlflow_has(calm)

    command = [sys.executable, "-m", "tlbench", "tune", str(suite), "--workspace", str(rough)]
    log = (tmp_path / "rough.log").open("w")
    driver = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: (rough / "ledger.sqlite").exists() and len(trials(rough)) >= 3)
        for victim in workers_of(driver.pid)[:1]:
            os.kill(victim, signal.SIGKILL)
        after = len(trials(rough))
        wait_for(lambda: len(trials(rough)) > after)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    before = trials(rough)
    assert 3 < len(before) < len(trials(calm)), "the driver must die in mid-search for this test to mean anything"

    again = tlbench("tune", str(suite), "--workspace", str(rough), "--json")
    assert again.returncode == 0, again.stderr
    expected = {name: record.digest for name, record in trials(calm).items()}
    assert {name: record.digest for name, record in trials(rough).items()} == expected
    assert {name: trials(rough)[name].cost.started for name in before} == {
        name: record.cost.started for name, record in before.items()
    }, "no trial that had ended was run again"
    found = {each["setting"]: each for each in json.loads(again.stdout)}
    assert len(found) == 8, "two methods, two budgets, two seeds"
    for each in found.values():
        assert bool(each["note"]) == (" | 1 shot | " in each["setting"])


def check_what_is_stored(workspace: Path) -> None:
    tried, cells = trials(workspace), [record for record in stored(workspace) if record.cell.trial is None]
    assert all(record.status == "done" for record in cells)
    assert {record.cell.seed for record in tried.values()} == {0, 1}
    assert {record.trial.folds for record in tried.values()} == {1}, "the suite says so"
    by_setting: dict[str, list[Record]] = {}
    for record in tried.values():
        if record.outcome is not None:
            assert record.outcome.scores == {}, "the test stays sealed"
            assert (record.outcome.tests, record.outcome.correct) == (0, "")
        by_setting.setdefault(record.cell.trial.setting, []).append(record)
    assert sorted(map(len, by_setting.values())) == [1] * 4 + [TRIALS] * 4
    failed = [record for record in tried.values() if record.status == "failed"]
    assert failed, "some of the unfreezing schedules do not fit"
    assert all("thaws in 5 stages" in (record.error or {})["message"] for record in failed)
    early = [record for record in tried.values() if record.outcome and STOPPED in record.outcome.selected]
    assert early, "successive halving ends some trials"
    for record in early:
        assert record.outcome is not None
        assert [share for share, _ in record.outcome.curves[VALUE_CURVE]] in ([1], [1, 3])
        assert len(record.outcome.curves["val_accuracy"]) in (1, 2, 6)
    tuned = [record for record in cells if record.cell.winner is not None]
    assert all(record.cell.shots == 5 and record.cell.method != "linear_probe" for record in tuned)
    assert len(cells) == 12 + len(tuned), "the default is there beside every other winner"
    for record in tuned:
        found = record.cell.winner
        first, *others = sorted(by_setting[found.setting], key=lambda each: each.cell.trial.number)
        best = best_record([first, *others])
        assert best is not None
        assert best.cell.trial == found
        assert first.status == "failed" or beats_by_standard_error(best, first)
        assert found.values.items() <= record.cell.params.items()
        assert record.cell.method_label.endswith("tuned)")
        assert record.cell.seed == best.cell.seed


def check_what_mlflow_has(workspace: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{workspace / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("searched")
    assert experiment is not None
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}
    children = [run for run in runs.values() if "tlbench.trial" in run.data.tags]
    assert len(children) == len(trials(workspace))
    parents = {run.data.tags["mlflow.parentRunId"] for run in children}
    assert len(parents) == 8
    assert all("tlbench.search" in runs[name].data.tags for name in parents)
    crowned = [run for run in children if run.data.tags.get("tlbench.winner") == "true"]
    tuned = sum(record.cell.winner is not None for record in stored(workspace))
    assert len(crowned) == tuned
    results = load("searched", uri)
    assert len(results.done) == results.planned == 12, "untuned cells are no rows"
    assert len(results.untuned) == 8
    assert set(results.done["method_label"]) == {
        "finetune(epochs=18, tuned)",
        "gradual_unfreezing(epochs=6, tuned)",
        "linear_probe",
    }
    assert results.trials.loc[results.trials["winner"], "key"].nunique() == 8
    kept = results.untuned["of"] == results.untuned["cell"]
    assert kept.sum() == 8 - tuned
    assert len(results.trials) == len(children)
    assert set(results.trials["status"]) == {"done", "stopped", "failed"}
    assert not results.failed


def test_a_population_goes_on_where_it_was_and_is_the_same_without_a_cluster(
    tmp_path: Path, decoded: Path, write_suite: Callable[[dict[str, Any]], Path], tlbench: Any
) -> None:
    """Five of nine trials are known, their trainings' states are not; the cluster does the rest."""
    grid = {**SUITE["grids"][0], "methods": [{"name": "finetune", "params": {"epochs": 6}}], "shots": [5], "seeds": 1}
    search = {"trials": 3, "scheduler": "pbt"}
    path = write_suite({"name": "population", "grids": [grid], "search": search})
    prepared = prepare(path, Artifacts(decoded))
    (setting,) = prepared.searches.problems.values()
    pieces = WorkerCache(Artifacts(decoded), torch.device("cpu"))
    study, records = Study(setting, {}), {}
    while (trial := study.propose()) is not None:
        records[trial.number] = run_cell(setting.trial_cell(trial), pieces)
        study.take(trial.number, records[trial.number])
    shutil.rmtree(decoded / STATES)
    assert len(records) == 9
    assert study.winning_trial is not None

    workspace = tmp_path / "workspace"
    workspace.mkdir()
    with Ledger(workspace / "ledger.sqlite") as ledger:
        for number in range(1, 6):
            record = records[number]
            ledger.commit(record, ledger.lease([record.id], "an earlier run", 60)[record.id])
    ran = tlbench("run", str(path), "--workspace", str(workspace))
    assert ran.returncode == 0, ran.stderr
    found = trials(workspace)
    assert {name: each.digest for name, each in found.items()} == {r.id: r.digest for r in records.values()}
    for number in range(1, 6):
        assert found[records[number].id].cost == records[number].cost, "it was not run again"
    final, *_ = sorted(
        (record for record in stored(workspace) if record.cell.trial is None), key=lambda each: each.cell.winner is None
    )
    assert final.id == setting.tuned_cell(study.winning_trial).id
    default_won = setting.is_default(study.winning_trial)
    assert final.cell.winner == (None if default_won else study.winning_trial)
    assert not list((decoded / STATES).iterdir()), "the search is over"
    with Ledger(workspace / "ledger.sqlite") as ledger:
        (result,) = search_results(prepared.searches, ledger)
    assert (result.trials, result.failed, result.chosen_trial) == (3, 0, study.winning_trial.number)
    results = load("population", f"sqlite:///{workspace / 'mlflow.db'}").trials
    assert len(results) == 9
    assert set(results["status"]) == {"done"}
    assert results["share"].tolist() == [1 / 3] * 9
    assert results[results["winner"]]["trial"].tolist() == [study.winning_trial.number]
