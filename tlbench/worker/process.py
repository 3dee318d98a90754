"""Starts a process that runs cells: threads, memory allocator, determinism, imports, device and artifact folder.

Imports torch only when it is called, because the number of threads must be in the environment before.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.core.resources import Resources
from tlbench.store.artifacts import Artifacts, artifact_folder
from tlbench.worker.memory_allocator import keep_freed_memory

if TYPE_CHECKING:
    import torch

    from tlbench.training.process_group import ProcessGroup
    from tlbench.worker.cache import WorkerCache

# What the first cell would import otherwise, in its own measured time: the first optimiser imports torch._dynamo.
SLOW_IMPORTS = ("torch._dynamo", "torchvision", "tlbench.worker.run_cell")


def start_worker_process(
    artifact_root: Path | str,
    resources: Resources,
    *,
    device: torch.device | str | None = None,
    group: ProcessGroup | None = None,
    preload: Sequence[str] = SLOW_IMPORTS,
) -> WorkerCache:
    """Prepare this process for running cells; called once, before anything else in it imports torch where possible.

    Args:
        artifact_root: Artifact folder of machines that do not name their own; ``$TLBENCH_ARTIFACTS`` goes before it.
        resources: CPUs and GPUs of this process, and the precision of training steps.
        device: Where to train; None is the GPU that the process sees if its resources have one, else the CPU.
        group: This process among those that train together; None where it trains alone.
        preload: Modules to import now, so that no cell's measured time contains it.

    Returns:
        What this process keeps between cells.
    """
    keep_freed_memory()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(_threads(resources))
    import torch

    for name in preload:
        importlib.import_module(name)
    limit_threads(resources)
    torch.backends.cudnn.deterministic = True
    chosen = device if device is not None else "cuda" if resources.gpus > 0 else "cpu"

    from tlbench.training.process_group import SINGLE_PROCESS
    from tlbench.worker.cache import WorkerCache

    artifacts = Artifacts(artifact_folder(artifact_root))
    return WorkerCache(
        artifacts,
        torch.device(chosen),
        group=group or SINGLE_PROCESS,
        precision=resources.precision,
        gpus=None if device == "cpu" else resources.gpus,
    )


def limit_threads(resources: Resources) -> None:
    """Let torch use as many threads as the process has CPUs; the limit holds for operations of the calling thread."""
    import torch

    torch.set_num_threads(_threads(resources))


def _threads(resources: Resources) -> int:
    return max(1, int(resources.cpus))
