"""What pre-training and teachers took: measured when they are trained, kept beside their weights, told to each cell."""

from __future__ import annotations

import json
from typing import Any

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, SharedCost
from tlbench.store.artifacts import Artifacts
from tlbench.worker.artifact_jobs import ArtifactJob, PretrainingJob, required_artifacts
from tlbench.worker.artifact_transfer import cost_file

_MEASURED = {"device_seconds", "seconds", "cpu_seconds", "gpus", "cpus"}


def cost_text(cost: Cost) -> str:
    """Return the content of the file in which the cost of a training is kept."""
    return json.dumps(cost.model_dump(mode="json", include=_MEASURED))


def shared_costs(cell: Cell, artifacts: Artifacts) -> tuple[SharedCost, ...]:
    """Return what the trainings behind a cell took, each once; figures that no file holds are None.

    These are the pre-training runs of its backbone, its teacher, and the pre-training runs of the teacher's backbone.

    Args:
        cell: The cell; its weights and its teacher's have been built.
        artifacts: Where they are.
    """
    found: dict[str, SharedCost] = {}
    waiting = required_artifacts(cell)
    while waiting:
        job = waiting.pop(0)
        if job.id not in found:
            found[job.id] = _shared_cost(job, artifacts)
            waiting += required_artifacts(job)
    return tuple(found.values())


def _shared_cost(job: ArtifactJob, artifacts: Artifacts) -> SharedCost:
    file = cost_file(artifacts, job.artifact)
    older = file.with_name("training.json")  # which has the wall seconds alone
    known = next((each for each in (file, older) if each.is_file()), None)
    told: dict[str, Any] = {} if known is None else json.loads(known.read_text())
    return SharedCost(
        kind="pre-training" if isinstance(job, PretrainingJob) else "teacher",
        key=job.id,
        label=job.label,
        device_seconds=told.get("device_seconds"),
        device="GPU" if told.get("gpus") else "CPU",
        seconds=told.get("seconds"),
    )
