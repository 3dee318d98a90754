"""One trial in one of Tune's processes: a cell on validation, which tells what it is worth as it goes on."""

from __future__ import annotations

import faulthandler
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from tlbench.core.cell import Cell
from tlbench.core.description import Trial
from tlbench.core.record import STOPPED, Outcome, Record
from tlbench.core.resources import Resources
from tlbench.core.segments import WHOLE, epochs_until
from tlbench.runner.slot_actor import HEAVY, read_artifact
from tlbench.search.objective import VALUE_CURVE, validation_value, value_of
from tlbench.search.problem import SearchProblem
from tlbench.store.artifacts import Artifacts, artifact_folder
from tlbench.training.context import Context
from tlbench.worker.artifact_jobs import required_artifacts
from tlbench.worker.artifact_transfer import store_weights_file
from tlbench.worker.cache import WorkerCache
from tlbench.worker.cost_meter import CostMeter
from tlbench.worker.memory_allocator import keep_freed_memory
from tlbench.worker.provenance import provenance
from tlbench.worker.run_cell import checkpoint_folder, run_cell
from tlbench.worker.segment_states import delete_states

_caches: dict[str, WorkerCache] = {}  # lives as long as the process, which runs trial after trial


@dataclass(frozen=True)
class Jobs:
    """What every trial of an experiment shares.

    Attributes:
        root: The artifact folder.
        resources: What one trial holds.
        settings: By key.
        marks: Ninths of a training at which its trial is judged.
        minutes: After which a trial is ended, its process with it; None lets it take what it takes.
    """

    root: str
    resources: Resources
    settings: Mapping[str, SearchProblem]
    marks: tuple[int, ...]
    minutes: float | None = None


def run_trial(config: dict[str, Any], jobs: Jobs) -> None:
    """Run a trial; every report carries the record that stands if the trial ends there.

    Args:
        config: :meth:`Trial.to_json`, and under ``held`` the machine that has each of the weights made for it.
        jobs: What all trials share.
    """
    from ray import tune

    threads = max(1, int(jobs.resources.cpus))
    torch.set_num_threads(threads)  # of this thread: Tune has a new one for each trial
    told = dict(config)
    held = told.pop("held")
    cell = jobs.settings[config["setting"]].trial_cell(Trial.from_json(told))
    cache = _caches.get(jobs.root) or _caches.setdefault(jobs.root, _prepared(jobs))
    _bring(cell, held, jobs, cache)
    judged = _Judged(cell, cache, jobs, tune.report)
    try:
        record = run_cell(
            cell,
            cache,
            cpus=jobs.resources.cpus,
            gpus=jobs.resources.gpus,
            facts={"pid": os.getpid()},
            observer=judged,
        )
    except SystemExit:  # how Tune ends a trial early, out of its report
        shutil.rmtree(checkpoint_folder(cell, cache.artifacts.root), ignore_errors=True)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    tune.report(_report(WHOLE, judged.whole(record)))


class _Judged:
    """What a trial told at each mark of its training."""

    def __init__(self, cell: Cell, cache: WorkerCache, jobs: Jobs, report: Callable[[dict[str, Any]], None]) -> None:
        self._report = report
        self._cell, self._cache, self._jobs = cell, cache, jobs
        self._watch = CostMeter(cache.device)
        self._rungs: list[tuple[int, float]] = []

    def on_begin(self) -> None:
        """End this process after the minutes that a trial may take."""
        _end_after(self._jobs.minutes)

    def on_epoch(self, ctx: Context, done: int, total: int) -> None:
        """Report the value at every mark that the training has passed; one that is resumed reports them again."""
        accuracy, nll = (ctx.curves.get(name, []) for name in ("val_accuracy", "val_nll"))
        if len(accuracy) != done or done == total:  # no validation, or another training of the same cell
            return
        for mark in self._jobs.marks[len(self._rungs) :]:
            epochs = epochs_until(mark, total)
            if epochs > done or epochs == total:
                return
            scores = zip(accuracy[:epochs], nll[:epochs], strict=False)
            best = max(validation_value({"accuracy": a, "nll": n}) or 0.0 for (_, a), (_, n) in scores)
            self._rungs.append((mark, best))
            self._report(_report(mark, self._partial(ctx, mark, best)))

    def whole(self, record: Record) -> Record:
        """Return a trial's record with the values at the marks."""
        if record.outcome is None or not self._rungs:
            return record
        curves = record.outcome.curves | {VALUE_CURVE: list(self._rungs)}
        return record.model_copy(update={"outcome": record.outcome.model_copy(update={"curves": curves})})

    def _partial(self, ctx: Context, mark: int, best: float) -> Record:
        resources = self._jobs.resources
        return Record(
            cell=self._cell.describe(),
            status="done",
            outcome=Outcome(
                scores={},
                validation={"accuracy": best},
                curves=dict(ctx.curves) | {VALUE_CURVE: list(self._rungs)},
                selected={STOPPED: round(mark / WHOLE, 4)},
            ),
            cost=self._watch.cost(resources.cpus, resources.gpus),
            provenance=provenance(self._cell, self._cache) | {"pid": os.getpid()},
        )


def _bring(cell: Cell, held: Mapping[str, str], jobs: Jobs, cache: WorkerCache) -> None:
    """Fetch what another machine made and does not share; should that fail, the cell makes it anew."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    for make in required_artifacts(cell):
        node = held.get(make.id)
        if node is None or cache.artifacts.has(*make.artifact):
            continue
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        read = ray.remote(num_cpus=0, scheduling_strategy=there)(read_artifact)
        with suppress(ray.exceptions.RayError):
            store_weights_file(cache.artifacts, make.artifact, ray.get(read.remote(jobs.root, make)))


def _end_after(minutes: float | None) -> None:
    """End this process after so long, wherever it hangs; what needs Python's lock for it may never come to its turn."""
    if minutes is not None:
        faulthandler.dump_traceback_later(60 * minutes, exit=True, file=sys.__stderr__)


def _report(mark: int, record: Record) -> dict[str, Any]:
    value = value_of(record.outcome)
    from ray import get_runtime_context

    return {
        "share": mark,
        "value": float("nan") if value is None else value,
        "record": record.model_dump_json(),
        "node": get_runtime_context().get_node_id(),
    }


def _prepared(jobs: Jobs) -> WorkerCache:
    keep_freed_memory()
    for name in HEAVY:
        importlib.import_module(name)
    device = torch.device("cuda" if jobs.resources.gpus > 0 else "cpu")
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
    artifacts = Artifacts(artifact_folder(jobs.root))
    delete_states((), artifacts)  # the driver sees to its own machine only
    return WorkerCache(artifacts, device, precision=jobs.resources.precision)
