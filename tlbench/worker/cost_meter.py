"""Measures what a cell takes: wall, CPU and training seconds, peak memory, and what it is billed."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tlbench.core.record import Cost, SharedCost
from tlbench.store.atomic_write import write_file
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.frozen_features import FrozenFeatures
from tlbench.training.process_group import SINGLE_PROCESS, ProcessGroup

SPENT_FILE = "spent.json"
"""Name of the file, beside the checkpoints of a training, of what was spent until the last of them."""


class CostMeter:
    """Measures wall, CPU and training seconds and peak memory since it was created, and makes out the bill.

    Args:
        device: Whose memory is measured: a GPU's own, else what the process has resident.
        group: The processes that train together. They tell each other their CPU-seconds when a training has ended.
        kept: File in which is kept what was spent until the last checkpoint. Work of an earlier attempt that this one
            does not have to do again is on the bill, too.

    Attributes:
        features: What the cell reads of frozen features; None while it reads nothing.
    """

    def __init__(self, device: torch.device, group: ProcessGroup = SINGLE_PROCESS, *, kept: Path | None = None) -> None:
        self.features: FrozenFeatures | None = None
        self._device = device
        self._group = group
        self._kept = kept
        self._before = _Spent(**json.loads(kept.read_text())) if kept is not None and kept.is_file() else _Spent(0, 0)
        self._cpu_of_others = 0.0
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
        """Return a context whose duration is added to the training seconds; all processes of a group enter it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._train += time.perf_counter() - start
        if self._group.is_distributed:
            own = torch.tensor(self._measured().cpu_seconds, dtype=torch.float64, device=self._device)
            self._cpu_of_others = (all_reduce_sum(own, self._group) - own).item()

    def keep(self) -> None:
        """Keep what was spent, for an attempt that continues from the checkpoint of this moment.

        The other processes of a group are taken to have spent as much as this one.
        """
        if self._kept is not None:
            spent = self._own(self._measured())
            whole = _Spent(spent.cpu_seconds * self._group.world_size, spent.seconds)
            write_file(self._kept, json.dumps(asdict(self._before + whole)), durable=False)

    def cost(self, cpus: float, gpus: float, shared: tuple[SharedCost, ...] = ()) -> Cost:
        """Return what has been spent so far, and the bill for it.

        Args:
            cpus: CPUs that each process holds.
            gpus: GPUs that each process holds.
            shared: For the record.
        """
        measured = self._measured()
        cuda = self._device.type == "cuda"
        peak_memory = torch.cuda.max_memory_allocated(self._device) if cuda else _peak_resident()
        # All clocks have been read: what a price takes that has to be measured now is on no bill.
        processes = self._group.world_size
        spent = self._before + self._own(measured) + _Spent(self._cpu_of_others, 0)
        embedded = 0 if self.features is None else self.features.examples_read
        embedding = self._embedding(embedded)
        return Cost(
            seconds=measured.seconds,
            train_seconds=self._train,
            cpu_seconds=measured.cpu_seconds + self._cpu_of_others,
            peak_memory=peak_memory,
            gpus=gpus * processes,
            cpus=cpus * processes,
            started=self._started,
            device_seconds=(gpus * processes * spent.seconds + gpus * embedding.seconds)
            if gpus
            else spent.cpu_seconds + embedding.cpu_seconds,
            embedding_seconds=gpus * embedding.seconds if gpus else embedding.cpu_seconds,
            examples_embedded=embedded,
            shared=shared,
        )

    def _measured(self) -> _Spent:
        """Return what the clocks of this process say."""
        return _Spent(time.process_time() - self._cpu, time.perf_counter() - self._wall)

    def _own(self, measured: _Spent) -> _Spent:
        """Return what was measured, but for computing frozen features or waiting for them."""
        if self.features is None:
            return measured
        waiting = self.features.waiting
        return _Spent(measured.cpu_seconds - waiting.cpu_seconds, measured.seconds - waiting.seconds)

    def _embedding(self, examples: int) -> _Spent:
        """Return the price of embedding some examples."""
        if self.features is None or not examples:
            return _Spent(0, 0)
        price = self.features.price()
        return _Spent(examples * price.cpu_seconds, examples * price.seconds)


@dataclass(frozen=True)
class _Spent:
    """CPU-seconds, and wall seconds."""

    cpu_seconds: float
    seconds: float

    def __add__(self, other: _Spent) -> _Spent:
        return _Spent(self.cpu_seconds + other.cpu_seconds, self.seconds + other.seconds)


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
