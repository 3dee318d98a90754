"""Builds weights files once for all cells that share them: in one process, or in several that train together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from tlbench.training.collectives import broadcast_from_rank_zero
from tlbench.worker.artifact_jobs import ArtifactName
from tlbench.worker.artifact_transfer import read_cost_file, read_weights_file, store_weights_file, weights_file
from tlbench.worker.worker_resources import BuildResources

# Trains; in the process that is given a folder, also writes the weights file and notes on the training into it.
Train = Callable[[Path | None], None]


def build_once(name: ArtifactName, train: Train, resources: BuildResources) -> Path:
    """Return a weights file; train it if no process of this machine has done so yet.

    All processes of a group must call this together: they train together, and each machine gets the file.

    Args:
        name: Kind and key of the artifact.
        train: How to build it; called in every process of the group, or in none.
        resources: Where artifacts are kept, and the group.
    """
    if resources.group.is_distributed:
        _build_in_group(name, train, resources)
    else:
        resources.artifacts.get(*name, train)
    return weights_file(resources.artifacts, name)


def _build_in_group(name: ArtifactName, train: Train, resources: BuildResources) -> None:
    """Train in all processes unless one has the weights; then copy the file to the machines that lack it."""
    present = _gathered(resources.artifacts.has(*name))
    if not any(present):
        _train_in_group(name, train, resources)
        present = _gathered(resources.artifacts.has(*name))
    if all(present):
        return
    sender = present.index(True)
    sends = resources.group.rank == sender
    content = [read(resources.artifacts, name) if sends else None for read in (read_weights_file, read_cost_file)]
    dist.broadcast_object_list(content, src=sender)
    weights, cost = content
    if weights is not None:
        store_weights_file(resources.artifacts, name, weights, cost or b"")


def _train_in_group(name: ArtifactName, train: Train, resources: BuildResources) -> None:
    """Train in all processes, the first of which saves; or in none, if the first finds the file built meanwhile.

    Only the first process takes the artifact's lock. It tells the others, once it has it, whether to train.
    """
    if not resources.group.is_first:
        if broadcast_from_rank_zero(None):
            train(None)
        return
    trained = False

    def train_and_save(folder: Path) -> None:
        nonlocal trained
        trained = broadcast_from_rank_zero(True)
        train(folder)

    resources.artifacts.get(*name, train_and_save)
    if not trained:
        broadcast_from_rank_zero(False)


def _gathered(value: bool) -> list[bool]:
    """Return every process's value, by rank."""
    values = [False] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
