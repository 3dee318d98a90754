"""One trial in one of Tune's processes: a cell on validation, which tells what it is worth as it goes on."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tlbench.core.cell import Cell
from tlbench.core.record import STOPPED, Outcome, Record
from tlbench.core.setting import Setting
from tlbench.core.suite import Resources
from tlbench.execution.allocator import keep_memory
from tlbench.execution.group import artifact_folder
from tlbench.execution.provenance import machine, sources
from tlbench.execution.run_cell import run_cell, scratch_of
from tlbench.execution.search.worth import RUNGS, worth, worth_of
from tlbench.execution.slot import HEAVY
from tlbench.execution.warm import Warm
from tlbench.execution.watch import Watch
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context

WHOLE = 9
"""A training is counted in ninths, whatever its number of epochs."""

_warm: dict[str, Warm] = {}  # lives as long as the process, which runs trial after trial


@dataclass(frozen=True)
class Jobs:
    """What every trial of an experiment shares.

    Attributes:
        root: The artifact folder.
        resources: What one trial holds.
        settings: By key.
        marks: Ninths of a training at which its trial is judged.
    """

    root: str
    resources: Resources
    settings: Mapping[str, Setting]
    marks: tuple[int, ...]


def run_trial(config: dict[str, Any], jobs: Jobs) -> None:
    """Run a trial; every report carries the record that stands if the trial ends there.

    Args:
        config: ``setting`` (key), ``number`` and ``values`` of the trial.
        jobs: What all trials share.
    """
    from ray import tune

    threads = max(1, int(jobs.resources.cpus))
    torch.set_num_threads(threads)  # of this thread: Tune has a new one for each trial
    cell = jobs.settings[config["setting"]].trial(config["number"], config["values"])
    warm = _warm.get(jobs.root) or _warm.setdefault(jobs.root, _warm_up(jobs))
    judged = _Judged(cell, warm, jobs)
    try:
        record = run_cell(
            cell,
            warm,
            cpus=jobs.resources.cpus,
            gpus=jobs.resources.gpus,
            facts={"pid": os.getpid()},
            on_epoch=partial(judged.tell, tune.report),
        )
    except SystemExit:  # how Tune ends a trial early, out of its report
        shutil.rmtree(scratch_of(cell, warm), ignore_errors=True)
        raise
    tune.report(_report(WHOLE, judged.whole(record)))


class _Judged:
    """What a trial told at each mark of its training."""

    def __init__(self, cell: Cell, warm: Warm, jobs: Jobs) -> None:
        self._cell, self._warm, self._jobs = cell, warm, jobs
        self._watch = Watch(warm.device)
        self._rungs: list[tuple[int, float]] = []

    def tell(self, report: Any, ctx: Context, done: int, total: int) -> None:
        """Report the value at every mark that the training has passed; one that is resumed reports them again."""
        accuracy, nll = (ctx.curves.get(name, []) for name in ("val_accuracy", "val_nll"))
        if len(accuracy) != done or done == total:  # no validation, or another training of the same cell
            return
        for mark in self._jobs.marks[len(self._rungs) :]:
            epochs = -(-mark * total // WHOLE)
            if epochs > done or epochs == total:
                return
            scores = zip(accuracy[:epochs], nll[:epochs], strict=False)
            best = max(worth({"accuracy": a, "nll": n}) or 0.0 for (_, a), (_, n) in scores)
            self._rungs.append((mark, best))
            report(_report(mark, self._partial(ctx, mark, best)))

    def whole(self, record: Record) -> Record:
        """Return a trial's record with the values at the marks."""
        if record.outcome is None or not self._rungs:
            return record
        curves = record.outcome.curves | {RUNGS: list(self._rungs)}
        return record.model_copy(update={"outcome": record.outcome.model_copy(update={"curves": curves})})

    def _partial(self, ctx: Context, mark: int, best: float) -> Record:
        resources = self._jobs.resources
        return Record(
            cell=self._cell.describe(),
            status="done",
            outcome=Outcome(
                scores={},
                validation={"accuracy": best},
                curves=dict(ctx.curves) | {RUNGS: list(self._rungs)},
                selected={STOPPED: round(mark / WHOLE, 4)},
            ),
            cost=self._watch.cost(resources.cpus, resources.gpus),
            provenance=machine() | sources(self._cell) | {"pid": os.getpid()},
        )


def _report(mark: int, record: Record) -> dict[str, Any]:
    value = worth_of(record.outcome)
    return {
        "share": mark,
        "value": float("nan") if value is None else value,
        "record": record.model_dump_json(),
    }


def _warm_up(jobs: Jobs) -> Warm:
    keep_memory()
    for name in HEAVY:
        importlib.import_module(name)
    device = torch.device("cuda" if jobs.resources.gpus > 0 else "cpu")
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
    return Warm(Artifacts(artifact_folder(jobs.root)), device, precision=jobs.resources.precision)
