"""Which trial of which search runs next, and what becomes of a trial that has ended. Knows nothing of Tune."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tlbench.core.cell import Cell
from tlbench.core.description import Trial
from tlbench.core.record import Record
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.attempts import Attempts
from tlbench.runner.death import Death
from tlbench.runner.worker_location import WorkerLocation
from tlbench.search.study import Study
from tlbench.worker.artifact_jobs import ArtifactJob, required_artifacts


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs, or that is to be attempted again because its process has died.

    Attributes:
        study: The study of its search problem.
        trial: Its number there, and its values.
        cell: The trial as a cell.
        began: Seconds since the epoch when its present process got it.
        builds: Artifacts that it requires and that nobody else has built: its process builds them first.
    """

    study: Study
    trial: Trial
    cell: Cell
    began: float = 0.0
    builds: tuple[ArtifactJob, ...] = ()


class TrialQueue:
    """The trials of all open studies. The study that has used the least of its budget goes first.

    Artifacts that several search problems need are built by the first trial that needs them; until that ends, other
    problems go first. A trial whose process died is attempted again before any other.

    Lifecycle of a trial: :meth:`start`, then :meth:`finish` or :meth:`died`. A study learns of each trial once, when it
    has ended for good.

    Args:
        studies: By key of their search problem.
        attempts: Decides about leases, deaths, overruns and the budget.
        gate: Knows which artifacts there are.
        stopping: Says whether the user wants to stop.
    """

    def __init__(
        self,
        studies: Mapping[str, Study],
        attempts: Attempts,
        gate: ArtifactGate,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._open = dict(studies)
        self._attempts, self._gate, self._stopping = attempts, gate, stopping
        self._running: dict[str, RunningTrial] = {}
        self._again: list[RunningTrial] = []
        # All trials of a problem require the same artifacts.
        self._first = {key: study.problem.trial(1, study.problem.space.start) for key, study in studies.items()}

    @property
    def is_closed(self) -> bool:
        """Whether no further trial starts."""
        self._open = {key: study for key, study in self._open.items() if not study.ended}
        return not self._open or self._stopping() or self._attempts.budget_is_used_up

    def start(self, name: str) -> RunningTrial | None:
        """Return the trial that starts now; None where all have to wait for others.

        Args:
            name: By which the caller knows it from now on; another attempt at the same trial has another name.
        """
        trial = self._again.pop(0) if self._again else self._next()
        if trial is None:
            return None
        started = replace(trial, began=time.time(), builds=tuple(self._gate.missing(trial.cell)))
        for artifact in started.builds:
            self._gate.begin(artifact)
        self._running[name] = started
        return started

    def finish(self, name: str, record: Record, location: WorkerLocation, available: frozenset[str]) -> None:
        """Commit a trial's record, and let its study learn from it.

        Args:
            name: As it was started.
            record: Its record.
            location: Where it ran.
            available: Ids of the jobs whose artifacts its process sees.
        """
        ended = self._running.pop(name)
        for artifact in required_artifacts(ended.cell):
            if artifact.id in available:
                self._gate.built(artifact, location)
        for artifact in ended.builds:
            if artifact.id not in available:
                self._gate.failed(artifact)
        self._attempts.charge(record.cost)
        self._commit(ended, record)

    def died(self, name: str) -> None:
        """Attempt a trial again whose process has died, or commit that it failed."""
        ended = self._running.pop(name)
        seconds = time.time() - ended.began
        overrun = self._attempts.overrun(seconds)
        death = Death(ended.cell, seconds, overrun or "", overrun=overrun is not None)
        error = self._attempts.after_death(death)
        for artifact in ended.builds:
            if error is None:
                self._gate.abandon(artifact)
            else:
                self._gate.failed(artifact)
        if error is None:
            self._again.append(ended)
        else:
            self._commit(ended, self._attempts.failure(ended.cell, error))

    def renew_leases(self) -> None:
        """Renew the leases of trials where it is time to; called again and again."""
        self._attempts.renew()

    def _next(self) -> RunningTrial | None:
        """Return a trial that has not been attempted here, with a lease on it."""
        for key, study in sorted(self._open.items(), key=lambda item: _share_used(item[1])):
            if self._gate.blocked(self._first[key]):
                continue  # it would wait for weights that another trial is building, and keep a worker idle
            trial = study.propose()
            if trial is None:
                continue
            cell = study.problem.trial_cell(trial)
            if cell.id in self._attempts.lease([cell]):
                return RunningTrial(study, trial, cell)
            study.withdraw(trial.number)  # another driver searches this setting
            del self._open[key]
        return None

    def _commit(self, ended: RunningTrial, record: Record) -> None:
        self._attempts.commit([record])
        ended.study.take(ended.trial.number, record)


def _share_used(study: Study) -> float:
    return (len(study.records) + len(study.running)) / study.problem.max_trials
