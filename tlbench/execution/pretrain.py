"""Pre-training runs: made once, kept as weights files, shared by every cell that names them."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch.distributed as dist

from tlbench.backbones.weights import save_weights
from tlbench.core import registry
from tlbench.core.cell import Pretrain
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TRAIN, Dataset, Split, take
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.training.distributed import from_first_process
from tlbench.training.randomness import reseed

if TYPE_CHECKING:
    from tlbench.execution.warm import Warm

KIND = "pretrained"


def corpus(dataset: Dataset) -> Split:
    """Return what pre-training may read of a dataset.

    Training examples only and, where the dataset declares a class split, training classes only: so neither the test
    examples nor the test classes of any protocol are seen.
    """
    rows = dataset.rows(TRAIN)
    classes = dataset.info.class_splits.get("train", tuple(range(len(dataset.info.classes))))
    rows = rows[np.isin(dataset.y[rows], classes)]
    _, labels = np.unique(dataset.y[rows], return_inverse=True)
    return take(dataset, rows, labels.astype(np.int64))


def pretrained_weights(run: Pretrain, key: str, warm: Warm) -> Path:
    """Return the weights file of a pre-training run, training it if no process of this machine has done so yet.

    A killed run continues from its last checkpoint. Where several processes make backbones together, all of them
    must call this; they train together, and each machine gets the file.

    Args:
        run: What to train.
        key: The resulting backbone's key.
        warm: Shared pieces of this process.
    """
    if warm.world > 1:
        _make_together(run, key, warm)
    else:
        warm.artifacts.get(KIND, key, partial(_train, run, key, warm))
    return weights_file(warm.artifacts, key)


def weights_file(artifacts: Artifacts, key: str) -> Path:
    """Return where the weights of a pre-trained backbone lie, made or not."""
    return artifacts.path(KIND, key) / "weights.safetensors"


def adopt(artifacts: Artifacts, key: str, content: bytes) -> None:
    """Keep a weights file that was made on another machine."""

    def write(folder: Path) -> None:
        (folder / weights_file(artifacts, key).name).write_bytes(content)

    artifacts.get(KIND, key, write)


def _train(run: Pretrain, key: str, warm: Warm, folder: Path | None) -> None:
    """Train, and save into a folder if one is given; in one process, or as one of several."""
    declared = registry.declaration("methods", run.method.name)
    # Another version of the method must not continue from this one's checkpoint.
    scratch = warm.artifacts.root / "running" / f"pretrain-{key}-{declared.source}"
    if folder is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    dataset = warm.dataset(run.dataset)
    backbone = warm.own_backbone(run.start, run.seed)
    module = declared.load()
    ctx = Context(
        cell=f"pretrain-{key}",
        device=warm.device,
        rank=warm.rank,
        world=warm.world,
        folder=None if folder is None else scratch,
    )
    reseed(derive_seed(ctx.cell, "global"))
    start = time.perf_counter()
    module.pretrain(corpus(dataset), backbone, module.Config(**run.method.params), ctx)
    if folder is None:
        return
    save_weights(backbone, folder / "weights.safetensors")
    told = {"seconds": time.perf_counter() - start, "workers": warm.world, "curves": ctx.curves}
    (folder / "training.json").write_text(json.dumps(told))
    shutil.rmtree(scratch)


def _make_together(run: Pretrain, key: str, warm: Warm) -> None:
    """Train in all processes unless one has the weights; then carry the file to the machines that lack it."""
    has = _told_by_all(warm.artifacts.has(KIND, key))
    if not any(has):
        _train_together(run, key, warm)
        has = _told_by_all(warm.artifacts.has(KIND, key))
    if all(has):
        return
    source = has.index(True)
    box = [weights_file(warm.artifacts, key).read_bytes() if warm.rank == source else None]
    dist.broadcast_object_list(box, src=source)
    if box[0] is not None:
        adopt(warm.artifacts, key, box[0])


def _train_together(run: Pretrain, key: str, warm: Warm) -> None:
    """Train in all processes, the first of which saves; or in none, if that one finds the weights made meanwhile."""
    if warm.rank != 0:
        if from_first_process(None):
            _train(run, key, warm, None)
        return
    trained = False

    def train(folder: Path) -> None:
        nonlocal trained
        trained = from_first_process(True)
        _train(run, key, warm, folder)

    warm.artifacts.get(KIND, key, train)
    if not trained:
        from_first_process(False)


def _told_by_all(value: bool) -> list[bool]:
    told = [False] * dist.get_world_size()
    dist.all_gather_object(told, value)
    return told
