"""Runs cells in the process of a test, and stops their trainings in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tlbench.core.cell import Cell
from tlbench.core.record import Record
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell


def new_cache(folder: Path) -> WorkerCache:
    """A new worker's cache on an artifact folder."""
    return WorkerCache(Artifacts(folder), torch.device("cpu"))


def done(cell: Cell, cache: WorkerCache) -> Record:
    """Run a cell that must not fail."""
    record = run_cell(cell, cache)
    assert record.status == "done", record.error
    return record


class Stop(BaseException):
    """Ends a training as a signal would."""


def stop_at(epoch: int) -> Callable[[int, int], None]:
    """A callback of trainings that ends them after an epoch."""

    def stop(done: int, total: int) -> None:
        if done == epoch:
            raise Stop

    return stop


def observe_epochs(patch: pytest.MonkeyPatch, module: ModuleType, on_epoch: Callable[[int, int], None]) -> None:
    """Let the trainings that a module starts save a checkpoint after every epoch, and then call this.

    Args:
        patch: Undoes it.
        module: The module of the package that creates the context.
        on_epoch: Called with the epochs done and the epochs in all.
    """

    def create(**given: Any) -> Context:
        if (checkpoints := given.get("checkpoints")) is not None:
            given["checkpoints"] = replace(checkpoints, interval=0.0)
        return Context(**given, on_epoch=on_epoch)

    patch.setattr(module, "Context", create)
