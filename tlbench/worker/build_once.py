"""Weights that are trained once and shared as a file: by one process, or by several that train together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from tlbench.backbones.weights_metadata import read_notes
from tlbench.core.cell import BackboneChoice
from tlbench.store.artifacts import Artifacts
from tlbench.training.data_parallel import from_first_process
from tlbench.worker.artifact_jobs import PRETRAINED

if TYPE_CHECKING:
    from tlbench.worker.cache import WorkerCache

WEIGHTS = "weights.safetensors"
# Trains, and saves into a folder if one is given: that file, and what else tells of the training.
Train = Callable[[Path | None], None]


def made_once(kind: str, key: str, train: Train, cache: WorkerCache) -> Path:
    """Return a weights file, training it if no process of this machine has done so yet.

    Where several processes make things together, all of them must call this; they train together, and each machine
    gets the file.

    Args:
        kind: The kind of artifact.
        key: Its name.
        train: How to make it.
        cache: What this process keeps between cells.
    """
    if cache.world > 1:
        _make_together(kind, key, train, cache)
    else:
        cache.artifacts.get(kind, key, train)
    return weights_file(cache.artifacts, kind, key)


def weights_file(artifacts: Artifacts, kind: str, key: str) -> Path:
    """Return where a weights file lies, made or not."""
    return artifacts.path(kind, key) / WEIGHTS


def notes_of(choice: BackboneChoice, artifacts: Artifacts) -> tuple[str, ...]:
    """Return what the pre-training runs of a backbone, whose weights are made, have to say to readers of results."""
    if choice.pretrain is None:
        return ()
    return read_notes(weights_file(artifacts, PRETRAINED, choice.artifact))


def adopt(artifacts: Artifacts, kind: str, key: str, content: bytes) -> None:
    """Keep a weights file that was made on another machine."""

    def write(folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(content)

    artifacts.get(kind, key, write)


def _make_together(kind: str, key: str, train: Train, cache: WorkerCache) -> None:
    """Train in all processes unless one has the weights; then carry the file to the machines that lack it."""
    has = _told_by_all(cache.artifacts.has(kind, key))
    if not any(has):
        _train_together(kind, key, train, cache)
        has = _told_by_all(cache.artifacts.has(kind, key))
    if all(has):
        return
    source = has.index(True)
    box = [weights_file(cache.artifacts, kind, key).read_bytes() if cache.rank == source else None]
    dist.broadcast_object_list(box, src=source)
    if box[0] is not None:
        adopt(cache.artifacts, kind, key, box[0])


def _train_together(kind: str, key: str, train: Train, cache: WorkerCache) -> None:
    """Train in all processes, the first of which saves; or in none, if that one finds the weights made meanwhile."""
    if cache.rank != 0:
        if from_first_process(None):
            train(None)
        return
    trained = False

    def save(folder: Path) -> None:
        nonlocal trained
        trained = from_first_process(True)
        train(folder)

    cache.artifacts.get(kind, key, save)
    if not trained:
        from_first_process(False)


def _told_by_all(value: bool) -> list[bool]:
    told = [False] * dist.get_world_size()
    dist.all_gather_object(told, value)
    return told
