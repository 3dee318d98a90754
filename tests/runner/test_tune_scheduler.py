"""Which trials end early: what a trial reports anew, after its process died, is judged once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from plausible import make_record
from ray.tune.schedulers import TrialScheduler

from tlbench.core.description import Trial
from tlbench.core.record import Cost, Outcome, Record
from tlbench.runner.tune_scheduler import TuneScheduler
from tlbench.search.objective import VALUE_CURVE
from tlbench.search.sampler import sampler
from tlbench.search.scheduler import scheduler
from tlbench.search.study import Study

PROBLEM: Any = SimpleNamespace(sampler=sampler("optuna"), scheduler=scheduler("none"))


def trial(number: int, name: str = "") -> Any:
    return SimpleNamespace(trial_id=name or f"t{number}", config={"setting": "s", "number": number})


def told(tune: TuneScheduler, number: int, share: int, value: float, name: str = "") -> str:
    return tune.on_trial_result(None, trial(number, name), {"share": share, "value": value})


def record(rungs: list[tuple[int, float]]) -> Record:
    cost = Cost(seconds=1, train_seconds=1, cpu_seconds=1, peak_memory=0, gpus=0, cpus=1, started=0)
    outcome = Outcome(scores={}, validation={"accuracy": rungs[-1][1]}, curves={VALUE_CURVE: rungs})
    cell = make_record("c" * 20).cell.model_copy(update={"trial": Trial("s", 1, {})})
    return Record(cell=cell, status="done", outcome=outcome, cost=cost)


EARLIER = {
    "asha": [[(1, 0.1), (3, 0.1)], [(1, 0.3), (3, 0.3)]],
    "median": [[(1, 0.1), (2, 0.1), (3, 0.1)], [(1, 0.9), (2, 0.9), (3, 0.9)]],
}
DYING = {"asha": [0.9, 0.9, 0.9], "median": [0.3, 0.6, 0.6]}  # by share; what it had told counts once
NEXT = {"asha": [0.7, 0.7, 0.2], "median": [0.42, 0.42, 0.42]}
ENDS = {"asha": 3, "median": 2}


def verdicts(kind: str, *deaths: int) -> list[str]:
    """Run trials 3 and 4; one process more dies in trial 3 for each of the shares that it had come to."""
    before = {number: record(rungs) for number, rungs in enumerate(EARLIER[kind], start=1)}
    tune = TuneScheduler({"s": Study(PROBLEM, before)}, scheduler(kind))
    for attempt, last in enumerate((*deaths, 9)):
        name = f"attempt-{attempt}"
        tune.on_trial_add(None, trial(3, name))
        found = [told(tune, 3, share, value, name) for share, value in enumerate(DYING[kind], 1) if share <= last]
    tune.on_trial_complete(None, trial(3, name), {"share": 9, "value": 0.9})
    assert found == [TrialScheduler.CONTINUE] * 3
    tune.on_trial_add(None, trial(4))
    found = []
    while TrialScheduler.STOP not in found:
        found.append(told(tune, 4, len(found) + 1, NEXT[kind][len(found)]))
    return found


@pytest.mark.parametrize("kind", ["asha", "median"])
@pytest.mark.parametrize("deaths", [(), (1,), (1, 1), (2, 2, 2)])
def test_a_trial_that_dies_is_judged_as_if_it_had_not(kind: str, deaths: tuple[int, ...]) -> None:
    assert len(verdicts(kind, *deaths)) == ENDS[kind]
