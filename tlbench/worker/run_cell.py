"""Runs one cell from start to record. Knows nothing of Ray or MLflow: a plain function of the cell."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, Outcome, Record
from tlbench.worker.artifact_jobs import required_artifacts
from tlbench.worker.build_artifact import build_artifact
from tlbench.worker.cost_meter import SPENT_FILE, CostMeter
from tlbench.worker.fit_cell import fit_cell
from tlbench.worker.load_inputs import load_inputs
from tlbench.worker.provenance import provenance, sources
from tlbench.worker.shared_costs import shared_costs
from tlbench.worker.training_observer import TrainingObserver
from tlbench.worker.worker_resources import WorkerResources

_TRACEBACK_LINES = 40


def run_cell(
    cell: Cell,
    resources: WorkerResources,
    *,
    cpus: float = 1,
    gpus: float = 0,
    facts: dict[str, Any] | None = None,
    observer: TrainingObserver | None = None,
) -> Record:
    """Run a cell and return its record; a failure inside the cell becomes a failed record, never an exception.

    In a group, every process calls this, and only the record of the first counts.

    Args:
        cell: The cell.
        resources: This process, and what it keeps.
        cpus: CPUs of this process, for the record.
        gpus: GPUs of this process, for the record.
        facts: Further provenance (attempt, slot, ...).
        observer: Follows the cell; it may end it, see :class:`TrainingObserver`.
    """
    group = resources.group
    meter = CostMeter(resources.device)
    outcome: Outcome | None = None
    cost: Cost | None = None
    error: dict[str, str] | None = None
    scratch = checkpoint_folder(cell, resources.artifacts.root)
    try:
        # As a rule all of this is there already. In no case is it part of the cell's cost.
        for job in required_artifacts(cell):
            build_artifact(job, resources)
        load_inputs(cell, resources)
        meter = CostMeter(resources.device, group, kept=scratch / SPENT_FILE)
        if observer is not None:
            observer.on_begin(meter)
        outcome = fit_cell(cell, resources, scratch, meter, observer).outcome
        cost = meter.cost(cpus, gpus, shared_costs(cell, resources.artifacts))
    except Exception as caught:
        outcome = None
        error = {
            "type": type(caught).__name__,
            "message": str(caught),
            "traceback": "\n".join(traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]),
        }
    # A process of a group may have failed only because another one died: the next attempt needs the checkpoint.
    if group.is_first and (error is None or group.world_size == 1):
        shutil.rmtree(scratch, ignore_errors=True)
    return Record(
        cell=cell.describe(),
        status="done" if error is None else "failed",
        outcome=outcome,
        cost=cost or _cost_of_failure(meter, cpus, gpus),
        provenance=provenance(cell, resources) | (facts or {}),
        error=error,
    )


def _cost_of_failure(meter: CostMeter, cpus: float, gpus: float) -> Cost:
    meter.features = None  # whose price may be what failed
    return meter.cost(cpus, gpus)


def checkpoint_folder(cell: Cell, artifact_root: Path) -> Path:
    """Return the folder of a cell's checkpoints, which exist while it runs and after it was killed.

    Args:
        cell: The cell. Another version of its method has another folder, so that it never continues from these.
        artifact_root: Root of this machine's artifact folder.
    """
    return artifact_root / "running" / f"{cell.id}-{sources(cell)['method_source']}"
