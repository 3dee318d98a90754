"""Runs one cell from start to record. Knows nothing of Ray or MLflow: a plain function of the cell."""

from __future__ import annotations

import platform
import resource
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tlbench.core import registry
from tlbench.core.cell import Cell, task_info
from tlbench.core.hashing import derive_seed
from tlbench.core.record import Cost, Outcome, Record
from tlbench.data.dataset import Task
from tlbench.execution.warm import Warm
from tlbench.training.context import Context

_TRACEBACK_LINES = 40


def run_cell(
    cell: Cell,
    warm: Warm,
    *,
    cpus: float = 1,
    gpus: float = 0,
    rank: int = 0,
    world: int = 1,
    interval: float = 5.0,
    on_epoch: Callable[[int, int], None] | None = None,
    facts: dict[str, Any] | None = None,
) -> Record:
    """Run a cell and return its record; a failure inside the cell becomes a failed record, never an exception.

    Args:
        cell: The cell.
        warm: Shared pieces of this process.
        cpus: CPUs held, for the record.
        gpus: GPUs held, for the record.
        rank: This process among those that train the cell together; only rank 0's record counts.
        world: Number of processes that train the cell together.
        interval: Seconds of work between checkpoints.
        on_epoch: Told (epochs done, epochs in all).
        facts: Further provenance (attempt, slot, commit, ...).
    """
    watch = _Watch(warm.device)
    outcome: Outcome | None = None
    error: dict[str, str] | None = None
    scratch = warm.artifacts.root / "running" / cell.id
    try:
        outcome = _attempt(cell, warm, scratch, watch, rank, world, interval, on_epoch)
    except Exception as caught:
        error = {
            "type": type(caught).__name__,
            "message": str(caught),
            "traceback": "\n".join(traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]),
        }
    if rank == 0:
        shutil.rmtree(scratch, ignore_errors=True)
    return Record(
        cell=cell.describe(),
        status="done" if error is None else "failed",
        outcome=outcome,
        cost=watch.cost(cpus * world, gpus * world),
        provenance=provenance() | _sources(cell) | {"threads": torch.get_num_threads(), "workers": world, **(facts or {})},
        error=error,
    )


def _attempt(
    cell: Cell,
    warm: Warm,
    scratch: Path,
    watch: _Watch,
    rank: int,
    world: int,
    interval: float,
    on_epoch: Callable[[int, int], None] | None,
) -> Outcome | None:
    declared = registry.declaration("methods", cell.method.name)
    method = declared.load()
    protocol = registry.declaration("protocols", cell.protocol.name).load()
    dataset = warm.dataset(cell.dataset)
    frozen = declared.constants.get("FROZEN_BACKBONE", False)
    backbone = (warm.backbone if frozen else warm.own_backbone)(cell.backbone, cell.seed)
    if not frozen:
        scratch.mkdir(parents=True, exist_ok=True)
    ctx = Context(
        cell=cell.id,
        device=warm.device,
        features=warm.features(cell.backbone, cell.seed, dataset),
        rank=rank,
        world=world,
        folder=None if frozen else scratch,
        interval=interval,
        on_epoch=on_epoch,
    )
    config = method.Config(**cell.method.params)
    torch.manual_seed(derive_seed(cell.id, "global"))

    def fit(task: Task) -> Any:
        with watch.training():
            return method.fit(task, backbone, config, ctx)

    info = task_info(cell.protocol, dataset.info, cell.shots)
    outcome: Outcome | None = protocol.run(info, dataset, cell.seed, fit, ctx)
    return outcome


class _Watch:
    """Measures wall, CPU and training seconds and peak memory from its making on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = time.time()
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        self._train = 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _reset_peak_resident()

    def training(self) -> _Training:
        """Return a context whose duration counts as training."""
        return _Training(self)

    def add_training(self, seconds: float) -> None:
        """Count seconds as training."""
        self._train += seconds

    def cost(self, cpus: float, gpus: float) -> Cost:
        """Return what has been spent so far."""
        cuda = self._device.type == "cuda"
        return Cost(
            seconds=time.perf_counter() - self._wall,
            train_seconds=self._train,
            cpu_seconds=time.process_time() - self._cpu,
            peak_memory=torch.cuda.max_memory_allocated(self._device) if cuda else _peak_resident(),
            gpus=gpus,
            cpus=cpus,
            started=self._started,
        )


class _Training:
    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._watch.add_training(time.perf_counter() - self._start)


def _reset_peak_resident() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is then that of the whole process


def _peak_resident() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def provenance() -> dict[str, Any]:
    """Return what this process runs on: versions, host, hardware, git commit."""
    packages = ("tlbench", "torch", "torchvision", "ray", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _commit() -> str:
    folder = Path(__file__).parent
    found = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True
    )
    return found.stdout.strip()


@cache
def _source(kind: registry.Kind, name: str) -> str:
    return registry.declaration(kind, name).source


def _sources(cell: Cell) -> dict[str, str]:
    return {
        "method_source": _source("methods", cell.method.name),
        "protocol_source": _source("protocols", cell.protocol.name),
    }
