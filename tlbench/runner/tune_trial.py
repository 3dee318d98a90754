"""One trial in one of Tune's processes: a cell on validation, which reports its value as its training goes on."""

from __future__ import annotations

import faulthandler
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import Cell
from tlbench.core.description import Trial
from tlbench.core.record import STOPPED, Outcome, Record
from tlbench.core.resources import Resources
from tlbench.core.segments import WHOLE, epochs_until
from tlbench.runner.artifact_fetch import fetch_artifacts
from tlbench.runner.worker_location import WorkerLocation, locate_worker
from tlbench.search.objective import VALUE_CURVE, WORST, Criterion, criterion_of, validation_value, value_of
from tlbench.search.problem import SearchProblem
from tlbench.worker.artifact_jobs import required_artifacts
from tlbench.worker.process import limit_threads, start_worker_process

if TYPE_CHECKING:
    from tlbench.training.context import Context
    from tlbench.worker.cache import WorkerCache
    from tlbench.worker.cost_meter import CostMeter

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrialTask:
    """What all trials of an experiment share.

    Attributes:
        artifact_root: The artifact folder of machines that do not name their own.
        resources: What one trial holds.
        problems: The search problems by key.
        checkpoints: Ninths of a training at which a trial reports its value, ascending.
        minutes: After which a trial is ended, its process with it; None lets it take what it takes.
    """

    artifact_root: str
    resources: Resources
    problems: Mapping[str, SearchProblem]
    checkpoints: tuple[int, ...]
    minutes: float | None = None


def run_trial(config: dict[str, Any], task: TrialTask) -> None:
    """Run a trial; every report has the record that stands if the trial ends there.

    Args:
        config: :meth:`Trial.to_json`, and under ``copies`` where there are artifacts that other machines have built.
        task: What all trials share.
    """
    from ray import tune

    from tlbench.worker.run_cell import checkpoint_folder, run_cell

    cell = task.problems[config["setting"]].trial_cell(Trial.from_json(config))
    process = _process(task)
    limit_threads(task.resources)  # of this thread: Tune has a new one for each trial
    artifacts = process.cache.artifacts
    fetch_artifacts(config["copies"], task.artifact_root, artifacts)
    reporter = TrialReporter(cell, process, task, tune.report)
    try:
        record = run_cell(
            cell,
            process.cache,
            cpus=task.resources.cpus,
            gpus=task.resources.gpus,
            facts={"pid": os.getpid()},
            observer=reporter,
        )
    except SystemExit:  # how Tune ends a trial early, out of its report
        shutil.rmtree(checkpoint_folder(cell, artifacts.root), ignore_errors=True)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    reporter.report_end(record)


@dataclass(frozen=True)
class TrialProcess:
    """A process of Tune, which runs trial after trial.

    Attributes:
        cache: What it keeps between trials.
        location: Where it runs.
    """

    cache: WorkerCache
    location: WorkerLocation


_processes: dict[str, TrialProcess] = {}  # this one, by the artifact folder


def _process(task: TrialTask) -> TrialProcess:
    """Return this process, prepared by its first trial."""
    if task.artifact_root not in _processes:
        from tlbench.worker.segment_states import delete_states

        cache = start_worker_process(task.artifact_root, task.resources)
        delete_states((), cache.artifacts)  # the driver sees to its own machine only
        _processes[task.artifact_root] = TrialProcess(cache, locate_worker(cache.artifacts))
    return _processes[task.artifact_root]


class TrialReporter:
    """Follows the training of a trial and reports its best value so far at the checkpoints of the scheduler.

    Of a trial in folds no training is looked at before its end. Its value is then that of all folds so far, reported at
    every checkpoint that lies behind; so a scheduler ends trials between folds, all of them after the same ones.

    Args:
        cell: The trial.
        process: Where it runs.
        task: What all trials share.
        report: Hands a report to Tune; raises :class:`SystemExit` where the trial ends there.
    """

    def __init__(self, cell: Cell, process: TrialProcess, task: TrialTask, report: Report) -> None:
        self._cell, self._process, self._task, self._report = cell, process, task, report
        self._meter: CostMeter | None = None
        self._values: list[tuple[int, float]] = []  # by checkpoint

    def on_begin(self, meter: CostMeter) -> None:
        """End this process after the minutes that a trial may take, wherever it hangs.

        What needs Python's lock for it may never come to its turn.
        """
        self._meter = meter
        if self._task.minutes is not None and sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(60 * self._task.minutes, exit=True, file=sys.__stderr__)

    def on_epoch(self, ctx: Context, done: int, total: int) -> None:
        """Report at every checkpoint that the training has passed; a training that is resumed reports them again."""
        if self._in_folds:
            return
        name, sign = self._criterion
        scores, nll = (ctx.curves.get(curve, []) for curve in (f"val_{name}", "val_nll"))
        if len(scores) != done or done == total:  # no validation, or another training of the same cell
            return
        for ninth in self._task.checkpoints[len(self._values) :]:
            epochs = epochs_until(ninth, total)
            if epochs > done or epochs == total:
                return
            pairs = zip(scores[:epochs], nll[:epochs], strict=False)
            best = max(self._value({name: score, "nll": n}) for (_, score), (_, n) in pairs)
            self._values.append((ninth, best))
            outcome = Outcome(scores={}, validation={name: sign * best}, curves=dict(ctx.curves))
            self._send(ninth, self._partial_record(outcome, ninth / WHOLE))

    def on_fold(self, done: int, count: int, outcome: Outcome) -> None:
        """Report at every checkpoint that lies behind the end of a fold, except behind that of the last."""
        for ninth in self._task.checkpoints[len(self._values) :] if done < count else ():
            if ninth * count > done * WHOLE:
                return
            self._values.append((ninth, self._value(outcome.validation)))
            self._send(ninth, self._partial_record(outcome, done / count))

    def _value(self, validation: Mapping[str, float]) -> float:
        found = validation_value(validation, self._criterion)
        return WORST if found is None else found

    @property
    def _criterion(self) -> Criterion:
        return criterion_of(self._cell.protocol.options)

    @property
    def _in_folds(self) -> bool:
        return self._cell.trial is not None and self._cell.trial.folds > 1

    def report_end(self, record: Record) -> None:
        """Report the record of a trial that was trained to its end, or failed."""
        if record.outcome is not None and self._values:
            curves = record.outcome.curves | {VALUE_CURVE: list(self._values)}
            record = record.model_copy(update={"outcome": record.outcome.model_copy(update={"curves": curves})})
        self._send(WHOLE, record)

    def _partial_record(self, outcome: Outcome, share: float) -> Record:
        """Return the record that stands if the trial ends here, after a share of its training."""
        from tlbench.worker.provenance import provenance
        from tlbench.worker.shared_costs import shared_costs

        artifacts = self._process.cache.artifacts
        assert self._meter is not None, "a training has epochs after its beginning only"
        resources = self._task.resources
        return Record(
            cell=self._cell.describe(),
            status="done",
            outcome=outcome.model_copy(
                update={
                    "curves": outcome.curves | {VALUE_CURVE: list(self._values)},
                    "selected": {STOPPED: round(share, 4)},
                }
            ),
            cost=self._meter.cost(resources.cpus, resources.gpus, shared_costs(self._cell, artifacts)),
            provenance=provenance(self._cell, self._process.cache) | {"pid": os.getpid()},
        )

    def _send(self, ninth: int, record: Record) -> None:
        value = value_of(record)
        artifacts = self._process.cache.artifacts
        required = required_artifacts(self._cell)
        self._report(
            {
                "share": ninth,
                "value": float("nan") if value is None else value,
                "record": record.model_dump_json(),
                "location": self._process.location,
                "available": frozenset(job.id for job in required if artifacts.has(*job.artifact)),
            }
        )
