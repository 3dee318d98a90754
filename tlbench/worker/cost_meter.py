"""Measures what a cell takes: wall, CPU and training seconds, and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tlbench.core.record import Cost


class CostMeter:
    """Measures wall, CPU and training seconds and peak memory since it was created.

    Args:
        device: Whose memory is measured: a GPU's own, else what the process has resident.
    """

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

    @contextmanager
    def training(self) -> Iterator[None]:
        """Return a context whose duration is added to the training seconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._train += time.perf_counter() - start

    def cost(self, cpus: float, gpus: float) -> Cost:
        """Return what has been spent so far.

        Args:
            cpus: CPUs in use, for the record.
            gpus: GPUs in use, for the record.
        """
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
