"""Several processes that train one cell, or make one artifact, together: a Ray Train worker group."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import Cell
from tlbench.core.resources import Resources
from tlbench.store.artifacts import Artifacts, artifact_folder
from tlbench.worker.artifact_jobs import ArtifactJob

if TYPE_CHECKING:
    from tlbench.core.record import Record
    from tlbench.worker.cache import WorkerCache

TRIES = 3  # groups that may lose a process before the job counts as failed
_STARTS = 10  # minutes to wait for the group's resources: Ray gives a start up after one, and tries again


class WorkerDeathError(RuntimeError):
    """The process that ran a cell ended before the cell did."""


class PartError(Exception):
    """One process's part of a cell failed; carries the failed record. Raised to end the whole group at once."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self.record = record


def run_together(cell: Cell, root: str, resources: Resources, facts: dict[str, Any]) -> Record:
    """Run a cell in a worker group and return its record; it continues from its checkpoint when a process dies.

    Args:
        cell: The cell.
        root: The artifact folder, for machines that do not name their own.
        resources: CPUs, GPUs and number of workers.
        facts: Further provenance.

    Raises:
        WorkerDeathError: Processes of the group died, three times over.
    """
    config = {"cell": cell, "root": root, "resources": resources, "facts": facts}
    try:
        record: Record = _fit(_run_part, config, cell.id, root, resources)
    except PartError as failed:
        return failed.record
    return record


def make_together(job: ArtifactJob, root: str, resources: Resources) -> None:
    """Make an artifact in a worker group, or find it made.

    Raises:
        WorkerDeathError: Processes of the group died, three times over.
        RuntimeError: It cannot be made; with the reason.
    """
    config = {"job": job, "root": root, "resources": resources}
    _fit(_make_part, config, job.id, root, resources)


def _fit(part: Callable[[dict[str, Any]], Any], config: dict[str, Any], name: str, root: str, held: Resources) -> Any:
    """Run ``part(config)`` in every process of a group and return what the first one returns."""
    from ray.exceptions import RayActorError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    storage = artifact_folder(root) / "running" / "groups"
    per_worker = {"CPU": float(held.cpus)} | ({"GPU": held.gpus} if held.gpus else {})
    trainer = TorchTrainer(
        part,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=held.workers, use_gpu=held.gpus > 0, resources_per_worker=per_worker),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=_STARTS),
        ),
    )
    reason = ""
    for _ in range(TRIES):
        try:
            return trainer.fit().return_value
        except (TrainingFailedError, RayActorError) as error:
            own, reason = _blame(error)
            if own is not None:
                raise own from None
        finally:
            shutil.rmtree(storage / name, ignore_errors=True)
    raise WorkerDeathError(f"its worker group failed {TRIES} times: {reason}")


def _blame(error: Exception) -> tuple[Exception | None, str]:
    """Return the error of the code that ran, if it was that which ended the group, and what to call any other."""
    from ray.train import WorkerGroupError

    failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    own = [failure for _, failure in sorted(failures.items()) if isinstance(failure, PartError | RuntimeError)]
    others = [failure for failure in failures.values() if not isinstance(failure, PartError | RuntimeError)]
    if own and not others and not all(map(_lost_another, own)):
        return next(failure for failure in own if not _lost_another(failure)), ""
    return None, str((others or own or [error])[0]).strip().partition("\n")[0]


def _lost_another(failure: Exception) -> bool:
    """Say whether a process failed only because another one of its group was gone."""
    text = failure.record.error["message"] if isinstance(failure, PartError) and failure.record.error else str(failure)
    return "gloo" in text or "NCCL" in text or "DistBackendError" in text


def _run_part(config: dict[str, Any]) -> Record:
    """Run one process's part of a cell."""
    from tlbench.worker.run_cell import run_cell

    resources, cache = config["resources"], _prepared(config)
    record = run_cell(
        config["cell"],
        cache,
        cpus=resources.cpus,
        gpus=resources.gpus,
        facts=config["facts"],
    )
    if record.error is not None:
        raise PartError(record)
    return record


def _make_part(config: dict[str, Any]) -> None:
    """Run one process's part of making an artifact."""
    from tlbench.worker.build_artifact import build_artifact

    try:
        build_artifact(config["job"], _prepared(config))
    except Exception as error:
        # Not every exception survives the way to another process.
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _prepared(config: dict[str, Any]) -> WorkerCache:
    """Prepare a process of a group."""
    import torch
    from ray.train import get_context
    from ray.train.torch import get_device

    from tlbench.worker.cache import WorkerCache
    from tlbench.worker.process_group import ProcessGroup

    torch.set_num_threads(max(1, int(config["resources"].cpus)))
    torch.backends.cudnn.deterministic = True
    process, artifacts = get_context(), Artifacts(artifact_folder(config["root"]))
    device = torch.device(get_device())
    group = ProcessGroup(process.get_world_rank(), process.get_world_size())
    return WorkerCache(artifacts, device, group=group, precision=config["resources"].precision)
