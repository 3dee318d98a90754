"""One slot: a long-lived Ray actor that keeps backbones, data and features, and runs cells, each under Ray Train."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tlbench.core.cell import Cell
from tlbench.core.resources import Resources
from tlbench.runner.artifact_fetch import RemoteCopy, fetch_artifacts
from tlbench.runner.train_group import build_in_group, run_in_group
from tlbench.runner.worker_location import WorkerLocation, locate_worker
from tlbench.worker.artifact_jobs import ArtifactJob
from tlbench.worker.process import SLOW_IMPORTS, start_worker_process

if TYPE_CHECKING:
    from tlbench.core.record import Record

T = TypeVar("T")


class Slot:
    """The actor. Every training in it is a Ray Train run: in this process for one worker, in a group for several.

    A slot whose cells are trained by groups trains nothing itself: it starts the groups, whose processes hold the
    resources.

    Args:
        artifact_root: The artifact folder of machines that do not name their own.
        resources: CPUs, GPUs and workers of a cell.
    """

    def __init__(self, artifact_root: str, resources: Resources) -> None:
        self._artifact_root = artifact_root
        self._resources = resources
        self._in_group = resources.workers > 1
        if self._in_group:
            self._cache = start_worker_process(artifact_root, resources, device="cpu", preload=())
        else:
            self._cache = start_worker_process(artifact_root, resources, preload=("ray.train.torch", *SLOW_IMPORTS))

    def location(self) -> WorkerLocation:
        """Return where this slot runs."""
        return locate_worker(self._cache.artifacts)

    def run(self, cell: Cell, attempt: int, copies: Sequence[RemoteCopy]) -> Record:
        """Run a cell and return its record.

        Args:
            cell: The cell.
            attempt: Number of the attempt at it, for the record.
            copies: Where there are artifacts that it requires and this machine lacks.
        """
        resources = self._resources
        facts = {"attempt": attempt, "pid": os.getpid()}
        if self._in_group:
            return run_in_group(cell, self._artifact_root, resources, facts)
        from tlbench.worker.run_cell import run_cell

        fetch_artifacts(copies, self._artifact_root, self._cache.artifacts)
        return _train(
            cell.id, lambda: run_cell(cell, self._cache, cpus=resources.cpus, gpus=resources.gpus, facts=facts)
        )

    def build(self, job: ArtifactJob, copies: Sequence[RemoteCopy]) -> None:
        """Build an artifact, unless this machine has it.

        Args:
            job: What to build.
            copies: Where there are artifacts that it requires and this machine lacks.
        """
        if self._in_group:
            build_in_group(job, self._artifact_root, self._resources)
            return
        from tlbench.worker.build_artifact import build_artifact

        fetch_artifacts(copies, self._artifact_root, self._cache.artifacts)
        _train(job.id, lambda: build_artifact(job, self._cache))


def _train(name: str, work: Callable[[], T]) -> T:
    """Do a training's work under Ray Train in this very process, and return what it returns."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer: Any = TorchTrainer(
        cast(Any, work), scaling_config=ScalingConfig(num_workers=0), run_config=RunConfig(name=name)
    )
    return cast(T, trainer.fit().return_value)
