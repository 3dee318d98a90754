"""What Tune asks for trials, and tells how they end: deals the cluster out among all settings at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray.tune.search import Searcher

from tlbench.core.cell import Cell
from tlbench.core.description import Trial
from tlbench.core.record import Cost, Record
from tlbench.planning.budget import Budget
from tlbench.runner.train_group import WorkerDeathError
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger
from tlbench.worker.artifact_jobs import required_artifacts

LEASE_SECONDS = 14 * 86400.0  # a lease ends with its owner's process long before
RETRIES = 2  # of a trial whose process died


@dataclass(frozen=True)
class _Started:
    """A trial that runs, or that waits for another process after its own has died.

    Attributes:
        study: The study of its setting.
        trial: Its place there, and its values.
        attempt: Of its lease.
        began: Seconds since the epoch when its first process got it.
        deaths: Number of processes that died in it.
        since: Seconds since the epoch when its present process got it.
    """

    study: Study
    trial: Trial
    attempt: int
    began: float
    deaths: int = 0
    since: float = 0.0


class Proposals(Searcher):
    """The trials of all studies. The setting that has used the least of its budget goes first.

    Weights that several settings need are made by the first trial that needs them; until it ends, other settings go.
    A trial whose process died starts anew before any other. Tune would do so itself, but not where the process died
    between two trials.

    Args:
        studies: By key of their setting.
        ledger: Where records are committed.
        owner: This driver, for leases.
        device: CPUs and GPUs of a trial, for the cost of one that died.
        budget: What the suite may use, and has used before.
        on_record: Called with each record that was committed.
        stopping: Says whether to start nothing more.
    """

    def __init__(
        self,
        studies: Mapping[str, Study],
        ledger: Ledger,
        owner: str,
        device: tuple[float, float],
        budget: Budget,
        on_record: Callable[[Record], None],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__(metric="value", mode="max")
        self._open = dict(studies)
        self._ledger, self._owner, self._device, self._budget = ledger, owner, device, budget
        self._on_record, self._stopping = on_record, stopping
        self._under_way: dict[str, _Started] = {}
        self._again: list[_Started] = []
        self._needs = {key: {make.id for make in required_artifacts(_first(study))} for key, study in studies.items()}
        self._made: dict[str, str] = {}  # the machine that has each; nobody's where its making failed
        self._making: dict[str, set[str]] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a trial that starts now, None to ask again later, or that there are no more."""
        self._open = {key: study for key, study in self._open.items() if not study.ended}
        if not self._open or self._stopping() or self._budget.reached:
            return Searcher.FINISHED
        if self._again:
            return self._start(trial_id, self._again.pop(0))
        for key, study in sorted(self._open.items(), key=lambda item: _progress(item[1])):
            if any(self._missing(key) & others for others in self._making.values()):
                continue  # it would wait for weights that another trial is making, and keep a worker idle
            trial = study.propose()
            if trial is None:
                continue
            cell = study.problem.trial_id(trial.number)
            lease = self._ledger.lease([cell], self._owner, LEASE_SECONDS)
            if cell not in lease:  # another driver searches this setting
                study.withdraw(trial.number)
                del self._open[key]
                return self.suggest(trial_id)
            return self._start(trial_id, _Started(study, trial, lease[cell], time.time()))
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Commit a trial's record, and let its study learn from it."""
        started, making = self._under_way.pop(trial_id), self._making.pop(trial_id)
        record = None if error or not result else result.get("record")
        if record is None:
            reason = self._budget.overrun(time.time() - started.since)
            if reason is None and started.deaths < RETRIES:
                self._again.append(replace(started, deaths=started.deaths + 1))
                return
            ended = self._died(started, reason or f"its worker died {1 + started.deaths} times")
        else:
            ended = Record.model_validate_json(record)
        self._made |= dict.fromkeys(making, (result or {}).get("node", ""))
        self._budget.take(ended.cost)
        if self._ledger.commit(ended, started.attempt):
            self._on_record(ended)
        started.study.take(started.trial.number, ended)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger has it all."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher for a restart of its own, which never happens."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Proposals:
        return self

    def _start(self, trial_id: str, started: _Started) -> dict[str, Any]:
        self._under_way[trial_id] = replace(started, since=time.time())
        key = started.trial.setting
        self._making[trial_id] = self._missing(key)
        held = {name: self._made[name] for name in self._needs[key] if self._made.get(name)}
        return started.trial.to_json() | {"held": held}

    def _missing(self, key: str) -> set[str]:
        """Return the weights that a setting needs and that no trial has made yet."""
        return self._needs[key] - self._made.keys()

    def _died(self, started: _Started, reason: str) -> Record:
        """Return the record of a trial that ended outside its own code."""
        cpus, gpus = self._device
        return Record(
            cell=started.study.problem.trial_cell(started.trial).describe(),
            status="failed",
            cost=Cost(
                seconds=time.time() - started.began,
                train_seconds=0,
                cpu_seconds=0,
                peak_memory=0,
                gpus=gpus,
                cpus=cpus,
                started=started.began,
            ),
            error={"type": WorkerDeathError.__name__, "message": reason, "traceback": ""},
        )


def _first(study: Study) -> Cell:
    return study.problem.trial(1, study.problem.space.start)


def _progress(study: Study) -> float:
    return (len(study.records) + len(study.running)) / study.problem.max_trials
