"""How trials are dealt out among settings, leases and deaths; the cluster is played by the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher
from small_suites import PLAIN, suite

from tlbench.core.record import Cost, Outcome, Record
from tlbench.core.resources import Limits, Resources
from tlbench.planning.budget import Budget
from tlbench.planning.prepare import prepare
from tlbench.runner import trial_queue
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.attempts import MAX_DEATHS, Attempts
from tlbench.runner.trial_queue import TrialQueue
from tlbench.runner.tune_searcher import TuneSearcher
from tlbench.runner.worker_location import WorkerLocation
from tlbench.search.problem import SearchProblem
from tlbench.search.study import Study
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger
from tlbench.worker.artifact_jobs import required_artifacts

GLYPHLESS = {"method": "supervised", "dataset": "rendered_digits", "params": {"epochs": 1}}
GRID = {
    "methods": ["finetune", "gradual_unfreezing"],
    "backbones": [{**PLAIN, "pretrain": GLYPHLESS}, PLAIN],
    "seeds": 1,
}


HERE = WorkerLocation("node", "store", 1)


class Play:
    """A searcher with a ledger of its own, and the cells' settings."""

    def __init__(self, folder: Path, **search: Any) -> None:
        path = folder / "played.yaml"
        path.write_text(json.dumps(suite("played", GRID, search={"trials": 3, "scheduler": "none", **search})))
        found = prepare(path, Artifacts(folder / "artifacts")).searches.problems.values()
        self.studies = {setting.key: Study(setting, {}) for setting in found}
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.seen: list[Record] = []
        self.stop = False
        self.budget = Budget(Limits())
        self.searcher = self.other("me")
        self.count = 0

    def other(self, owner: str) -> TuneSearcher:
        attempts = Attempts(self.ledger, owner, self.budget, Resources(), self.seen.append)
        gate = ArtifactGate()
        return TuneSearcher(TrialQueue(self.studies, attempts, gate, lambda: self.stop), gate)

    def ask(self) -> tuple[str, Any]:
        self.count += 1
        return f"t{self.count}", self.searcher.suggest(f"t{self.count}")

    def setting(self, config: dict[str, Any]) -> SearchProblem:
        return self.studies[config["setting"]].problem

    def end(self, trial: str, config: dict[str, Any], accuracy: float = 0.5, has_artifacts: bool = True) -> None:
        cell = self.setting(config).trial(config["number"], config["values"])
        cost = Cost(seconds=1, train_seconds=1, cpu_seconds=1, peak_memory=0, gpus=0, cpus=1, started=0)
        outcome = Outcome(scores={}, validation={"accuracy": accuracy, "nll": 1.0})
        record = Record(cell=cell.describe(), status="done", outcome=outcome, cost=cost)
        available = frozenset(job.id for job in required_artifacts(cell) if has_artifacts)
        report = {"record": record.model_dump_json(), "location": HERE, "available": available}
        self.searcher.on_trial_complete(trial, report)


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    made = Play(tmp_path)
    yield made
    made.ledger.close()


def test_nobody_waits_for_weights_that_another_makes(play: Play) -> None:
    first, one = play.ask()
    assert play.setting(one).backbone.pretrain is not None
    others = [play.ask()[1] for _ in range(2)]
    assert {play.setting(other).backbone.pretrain for other in others} == {None}
    assert play.ask()[1] is None
    play.end(first, one)
    assert play.setting(play.ask()[1]).backbone.pretrain is not None, "now they are there"


def test_every_setting_has_its_turn_and_all_come_to_their_end(play: Play) -> None:
    under_way: list[tuple[str, Any]] = []
    while True:
        trial, config = play.ask()
        if config == Searcher.FINISHED:
            break
        if config is None:
            play.end(*under_way.pop(0))
            numbers = [len(study.records) for study in play.studies.values()]
            assert max(numbers) - min(numbers) <= 2
            continue
        under_way.append((trial, config))
    assert not under_way
    assert [len(study.records) for study in play.studies.values()] == [3, 3, 3, 3]
    assert len(play.seen) == 12
    assert len(list(play.ledger.records())) == 12


def test_a_trial_whose_process_died_goes_first_as_it_was(play: Play) -> None:
    trial, config = play.ask()
    play.searcher.on_trial_complete(trial, {"share": 1}, error=True)
    assert not play.seen
    again, same = play.ask()
    assert same == config
    play.end(again, same)
    assert play.seen[0].status == "done"
    assert play.ask()[1] != config


def test_a_trial_that_dies_for_good_is_a_failure_that_costs(play: Play) -> None:
    config = None
    for deaths in range(MAX_DEATHS):
        assert len(play.seen) == 0, f"after {deaths} deaths"
        trial, config = play.ask()
        play.searcher.on_trial_complete(trial, None, error=True)
    (record,) = play.seen
    assert config is not None
    assert record.status == "failed"
    assert (record.error or {})["type"] == "WorkerDeathError"
    assert record.id == play.setting(config).trial_id(1)
    assert len(play.studies[config["setting"]].records) == 1


def test_nobody_waits_for_weights_whose_maker_died(play: Play) -> None:
    trial, config = play.ask()
    play.searcher.on_trial_complete(trial, None, error=True)
    again, _ = play.ask()
    others = [play.ask()[1] for _ in range(3)]
    assert others[-1] is None, "only the settings without those weights have gone on"
    play.end(again, config)
    assert play.setting(play.ask()[1]).backbone.pretrain is not None


def test_another_driver_leaves_a_setting_to_the_one_that_searches_it(play: Play, tmp_path: Path) -> None:
    _, mine = play.ask()
    second = Play.__new__(Play)
    second.__dict__.update(play.__dict__)
    second.studies = {key: Study(study.problem, {}) for key, study in play.studies.items()}
    theirs = second.other("they").suggest("x1")
    assert theirs["setting"] != mine["setting"]


def test_no_trial_starts_beyond_the_hours_of_the_suite(play: Play) -> None:
    play.budget.limits = Limits(cpu_hours=1.5 / 3600)
    play.end(*play.ask())
    under_way = play.ask()
    assert isinstance(under_way[1], dict), "one second of one and a half is used"
    play.end(*under_way)
    assert play.budget.spent["cpu"] == pytest.approx(2 / 3600)
    assert play.ask()[1] == Searcher.FINISHED


def test_a_trial_that_takes_too_long_is_not_tried_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(trial_queue.time, "time", lambda: now)
    play.budget.limits = Limits(cell_minutes=0.5)
    for _ in range(2):
        trial, _ = play.ask()
        now += 20.0
        play.searcher.on_trial_complete(trial, None, error=True)
    assert not play.seen, "neither process was over its time when it died"
    trial, _ = play.ask()
    now += 31.0
    play.searcher.on_trial_complete(trial, None, error=True)
    assert (play.seen[0].error or {})["message"] == "over the limit of 0.5 minutes a cell"
    assert play.seen[0].cost.seconds == pytest.approx(71.0)


def test_whoever_wants_to_stop_starts_nothing_more(play: Play) -> None:
    play.ask()
    play.stop = True
    assert play.ask()[1] == Searcher.FINISHED
