"""Several processes that train one cell, or build one artifact, together: a Ray Train worker group."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tlbench.core.cell import Cell
from tlbench.core.resources import Resources
from tlbench.runner.death import WorkerDeathError
from tlbench.store.artifacts import artifact_folder
from tlbench.worker.artifact_jobs import ArtifactJob, Job
from tlbench.worker.process import start_worker_process

if TYPE_CHECKING:
    from tlbench.core.record import Record
    from tlbench.worker.cache import WorkerCache

_START_MINUTES = 10  # to wait for the group's resources: Ray gives a start up after one, and tries again


class FailedCellError(Exception):
    """The cell failed in one process of a group; raised to end the whole group at once.

    Args:
        record: The failed record.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self.record = record


@dataclass(frozen=True)
class _GroupTask:
    """What every process of a group is given.

    Attributes:
        job: What the group does.
        artifact_root: The artifact folder of machines that do not name their own.
        resources: CPUs and GPUs of one process, and their number.
        facts: Further provenance of a cell.
    """

    job: Job
    artifact_root: str
    resources: Resources
    facts: Mapping[str, Any] = field(default_factory=dict)


def run_in_group(cell: Cell, artifact_root: str, resources: Resources, facts: Mapping[str, Any]) -> Record:
    """Run a cell in a worker group and return its record; it continues from a checkpoint of an earlier attempt.

    Args:
        cell: The cell.
        artifact_root: The artifact folder of machines that do not name their own.
        resources: CPUs, GPUs and number of workers.
        facts: Further provenance.

    Raises:
        WorkerDeathError: A process of the group died.
    """
    try:
        return cast("Record", _run_group(_run_cell_part, _GroupTask(cell, artifact_root, resources, facts)))
    except FailedCellError as failed:
        return failed.record


def build_in_group(job: ArtifactJob, artifact_root: str, resources: Resources) -> None:
    """Build an artifact in a worker group, unless its machines have it.

    Args:
        job: What to build.
        artifact_root: The artifact folder of machines that do not name their own.
        resources: CPUs, GPUs and number of workers.

    Raises:
        WorkerDeathError: A process of the group died.
        RuntimeError: It cannot be built; with the reason.
    """
    _run_group(_build_part, _GroupTask(job, artifact_root, resources))


def _run_group(part: Callable[[dict[str, Any]], Any], task: _GroupTask) -> Any:
    """Run ``part({"task": task})`` in every process of a group and return what the first one returns."""
    from ray.exceptions import RayActorError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    resources = task.resources
    storage = artifact_folder(task.artifact_root) / "running" / "groups"
    per_worker = {"CPU": float(resources.cpus)} | ({"GPU": resources.gpus} if resources.gpus else {})
    failures: Any = FailureConfig  # whose declared fields are those of an older version
    trainer: Any = TorchTrainer(
        part,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        run_config=RunConfig(
            name=task.job.id,
            storage_path=str(storage),
            failure_config=failures(max_failures=0, controller_failure_limit=_START_MINUTES),
        ),
    )
    try:
        return trainer.fit().return_value
    except (TrainingFailedError, RayActorError) as error:
        own = _own_failure(error)
        if own is not None:
            raise own from None
        raise WorkerDeathError(_first_line(error)) from None
    finally:
        shutil.rmtree(storage / task.job.id, ignore_errors=True)


def _own_failure(error: Exception) -> Exception | None:
    """Return the failure of the code that ran, where it was that which ended the group; None where a process died."""
    failures = _failures(error)
    own = [failure for failure in failures if isinstance(failure, FailedCellError | RuntimeError)]
    if own and len(own) == len(failures) and not all(map(_lost_another, own)):
        return next(failure for failure in own if not _lost_another(failure))
    return None


def _failures(error: Exception) -> list[Exception]:
    """Return the failures of a group's processes by rank; empty where the group failed otherwise."""
    from ray.train import WorkerGroupError

    return (
        [failure for _, failure in sorted(error.worker_failures.items())] if isinstance(error, WorkerGroupError) else []
    )


def _first_line(error: Exception) -> str:
    """Return why a process died, as the group reports it: what is no failure of the code that ran goes first."""
    failures = _failures(error)
    foreign = [failure for failure in failures if not isinstance(failure, FailedCellError | RuntimeError)]
    return str((foreign or failures or [error])[0]).strip().partition("\n")[0]


def _lost_another(failure: Exception) -> bool:
    """Say whether a process failed only because another one of its group was gone."""
    record = failure.record if isinstance(failure, FailedCellError) else None
    text = record.error["message"] if record is not None and record.error else str(failure)
    return "gloo" in text or "NCCL" in text or "DistBackendError" in text


def _run_cell_part(config: dict[str, Any]) -> Record:
    """Run a cell as one process of a group."""
    from tlbench.worker.run_cell import run_cell

    task: _GroupTask = config["task"]
    assert isinstance(task.job, Cell)
    resources = task.resources
    record = run_cell(task.job, _start(task), cpus=resources.cpus, gpus=resources.gpus, facts=dict(task.facts))
    if record.error is not None:
        raise FailedCellError(record)
    return record


def _build_part(config: dict[str, Any]) -> None:
    """Build an artifact as one process of a group."""
    from tlbench.worker.build_artifact import build_artifact

    task: _GroupTask = config["task"]
    assert not isinstance(task.job, Cell)
    try:
        build_artifact(task.job, _start(task))
    except Exception as error:
        # Not every exception survives the way to another process.
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _start(task: _GroupTask) -> WorkerCache:
    """Prepare a process that Ray Train has put into a group."""
    from ray.train import get_context
    from ray.train.torch import get_device

    from tlbench.training.process_group import ProcessGroup

    context = get_context()
    group = ProcessGroup(context.get_world_rank(), context.get_world_size())
    return start_worker_process(task.artifact_root, task.resources, device=get_device(), group=group)
