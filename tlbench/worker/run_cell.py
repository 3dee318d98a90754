"""Runs one cell from start to record. Knows nothing of Ray or MLflow: a plain function of the cell."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tlbench.core.cell import Cell
from tlbench.core.record import Outcome, Record
from tlbench.training.context import Context
from tlbench.worker.artifact_jobs import needs
from tlbench.worker.cache import WorkerCache
from tlbench.worker.cost_meter import Watch
from tlbench.worker.fit_cell import attempt
from tlbench.worker.provenance import machine, sources

_TRACEBACK_LINES = 40


def run_cell(
    cell: Cell,
    cache: WorkerCache,
    *,
    cpus: float = 1,
    gpus: float = 0,
    rank: int = 0,
    world: int = 1,
    facts: dict[str, Any] | None = None,
    on_epoch: Callable[[Context, int, int], None] | None = None,
    on_begin: Callable[[], None] = lambda: None,
) -> Record:
    """Run a cell and return its record; a failure inside the cell becomes a failed record, never an exception.

    Args:
        cell: The cell.
        cache: What this process keeps between cells.
        cpus: CPUs held, for the record.
        gpus: GPUs held, for the record.
        rank: This process among those that train the cell together; only rank 0's record counts.
        world: Number of processes that train the cell together.
        facts: Further provenance (attempt, slot, commit, ...).
        on_epoch: Told (context, epochs done, epochs in all) as the method fits; what it raises that is no
            :class:`Exception` ends the cell without a record.
        on_begin: Called when all that the cell needs is there.
    """
    watch = Watch(cache.device)
    outcome: Outcome | None = None
    error: dict[str, str] | None = None
    # Another version of the method must not continue from this one's checkpoint.
    scratch = scratch_of(cell, cache)
    try:
        for make in needs(cell):
            make.do(cache)  # made before, as a rule, and in no case on this cell's bill
        cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)  # nor is turning texts into tokens
        on_begin()
        watch = Watch(cache.device)
        outcome, _ = attempt(cell, cache, scratch, rank, world, watch.training, on_epoch)
    except Exception as caught:
        error = {
            "type": type(caught).__name__,
            "message": str(caught),
            "traceback": "\n".join(traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]),
        }
    # One of several processes may have failed only because another one died: the next try wants the checkpoint.
    if rank == 0 and (error is None or world == 1):
        shutil.rmtree(scratch, ignore_errors=True)
    here = {"threads": torch.get_num_threads(), "workers": world, "precision": cache.precision}
    return Record(
        cell=cell.describe(),
        status="done" if error is None else "failed",
        outcome=outcome,
        cost=watch.cost(cpus * world, gpus * world),
        provenance=machine() | sources(cell) | here | (facts or {}),
        error=error,
    )


def scratch_of(cell: Cell, cache: WorkerCache) -> Path:
    """Return the folder of a cell's checkpoints, which are there while it runs and after it was killed."""
    return cache.artifacts.root / "running" / f"{cell.id}-{sources(cell)['method_source']}"
