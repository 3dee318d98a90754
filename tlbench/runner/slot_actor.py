"""One slot: a long-lived Ray actor that keeps shared pieces warm and runs cells, each under Ray Train."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tlbench.core.cell import Cell
from tlbench.core.resources import Resources
from tlbench.runner.train_group import make_together, run_together
from tlbench.store.artifacts import Artifacts, artifact_folder
from tlbench.store.atomic_write import write_new_file
from tlbench.worker.artifact_jobs import ArtifactJob
from tlbench.worker.artifact_transfer import read_weights_file, store_weights_file
from tlbench.worker.memory_allocator import keep_freed_memory

if TYPE_CHECKING:
    from tlbench.core.record import Record

T = TypeVar("T")

# What a first cell would otherwise import, on its own bill: the first optimiser brings torch._dynamo, and so on.
HEAVY = ("ray.train.torch", "torch._dynamo", "torchvision", "tlbench.worker.run_cell")


@dataclass(frozen=True)
class Place:
    """Where a slot lives.

    Attributes:
        node: Ray's id of the machine.
        pid: The process.
        store: Identity of the artifact folder it sees; slots with the same one share files.
        gpu: Name of its GPU, or empty.
    """

    node: str
    pid: int
    store: str
    gpu: str


class Slot:
    """The actor. Every training in it is a Ray Train run: in-process for one worker, a worker group for several.

    Args:
        root: The artifact folder; the environment variable ``TLBENCH_ARTIFACTS`` of the node goes before it.
        resources: CPUs, GPUs and workers of a cell.
        facts: Provenance that the driver knows.
    """

    def __init__(self, root: str, resources: Resources, facts: dict[str, Any]) -> None:
        keep_freed_memory()
        threads = max(1, int(resources.cpus))
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
        import torch

        from tlbench.worker.cache import WorkerCache

        if resources.workers == 1:
            for name in HEAVY:
                importlib.import_module(name)
        torch.set_num_threads(threads)
        if torch.cuda.is_available():
            torch.backends.cudnn.deterministic = True
        self._resources = resources
        self._facts = facts
        self._root = root
        gpu = resources.gpus > 0 and resources.workers == 1
        device = torch.device("cuda" if gpu else "cpu")
        self._cache = WorkerCache(Artifacts(artifact_folder(root)), device, precision=resources.precision)

    def place(self) -> Place:
        """Say where this slot lives."""
        import ray
        import torch

        folder = self._cache.artifacts.root
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / ".identity"
        if not mark.exists():
            write_new_file(mark, secrets.token_hex(8))  # one that another slot wrote first stays
        gpu = torch.cuda.get_device_name() if self._cache.device.type == "cuda" else ""
        return Place(ray.get_runtime_context().get_node_id(), os.getpid(), mark.read_text(), gpu)

    def run(self, cell: Cell, attempt: int) -> Record:
        """Run a cell and return its record."""
        facts = self._facts | {"attempt": attempt, "pid": os.getpid()}
        if self._resources.workers > 1:
            return run_together(cell, self._root, self._resources, facts)
        from tlbench.worker.run_cell import run_cell

        cpus, gpus = self._resources.cpus, self._resources.gpus
        return _alone(cell.id, lambda: run_cell(cell, self._cache, cpus=cpus, gpus=gpus, facts=facts))

    def make(self, job: ArtifactJob) -> None:
        """Make an artifact, or find it made."""
        if self._resources.workers > 1:
            make_together(job, self._root, self._resources)
        else:
            from tlbench.worker.build_artifact import build_artifact

            _alone(job.id, lambda: build_artifact(job, self._cache))

    def adopt(self, job: ArtifactJob, content: bytes) -> None:
        """Keep the weights file of an artifact that a slot elsewhere made."""
        store_weights_file(self._cache.artifacts, job.artifact, content)


def read_artifact(root: str, job: ArtifactJob) -> bytes:
    """Return a weights file that a slot on this machine made, for one that does not share its artifact folder."""
    return read_weights_file(Artifacts(artifact_folder(root)), job.artifact)


def _alone(name: str, work: Callable[[], T]) -> T:
    """Do a training's work under Ray Train in this very process, and return what it returns."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(work, scaling_config=ScalingConfig(num_workers=0), run_config=RunConfig(name=name))
    value: T = trainer.fit().return_value
    return value
