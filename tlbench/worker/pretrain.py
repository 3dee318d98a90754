"""Pre-training runs: made once, kept as weights files, shared by every cell that names them."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench.backbones.weights import save_weights
from tlbench.core.cell import Pretrain
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TRAIN, Dataset, Split, take
from tlbench.plugins import registry
from tlbench.training.context import Context
from tlbench.training.seeding import reseed
from tlbench.worker.artifact_jobs import PRETRAINED
from tlbench.worker.build_once import WEIGHTS, made_once, notes_of

if TYPE_CHECKING:
    from tlbench.worker.cache import WorkerCache


def corpus(dataset: Dataset, labelled: bool) -> Split:
    """Return what pre-training may read of a dataset.

    Training examples only and, where the dataset declares a class split, training classes only: so neither the test
    examples nor the test classes of any protocol are seen.

    Args:
        dataset: The dataset.
        labelled: Whether the method reads labels; otherwise it is given none.
    """
    rows = dataset.rows(TRAIN)
    classes = dataset.info.class_splits.get("train", tuple(range(len(dataset.info.classes))))
    rows = rows[np.isin(dataset.y[rows], classes)]
    if not labelled:
        return take(dataset, rows, None)
    _, labels = np.unique(dataset.y[rows], return_inverse=True)
    return take(dataset, rows, labels.astype(np.int64))


def pretrained_weights(run: Pretrain, key: str, cache: WorkerCache) -> Path:
    """Return the weights file of a pre-training run, training it if no process of this machine has done so yet.

    A killed run continues from its last checkpoint.

    Args:
        run: What to train.
        key: Name of the artifact.
        cache: What this process keeps between cells.
    """
    return made_once(PRETRAINED, key, partial(_train, run, key, cache), cache)


def _train(run: Pretrain, key: str, cache: WorkerCache, folder: Path | None) -> None:
    """Train, and save into a folder if one is given; in one process, or as one of several."""
    declared = registry.declaration("methods", run.method.name)
    # Another version of the method must not continue from this one's checkpoint.
    scratch = cache.artifacts.root / "running" / f"pretrain-{key}-{declared.source}"
    if folder is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    dataset = cache.read(run.dataset, run.start)
    backbone = cache.own_backbone(run.start, run.seed)
    module = declared.load()
    ctx = Context(
        cell=f"pretrain-{run.recipe}",
        device=cache.device,
        precision=cache.precision,
        rank=cache.rank,
        world=cache.world,
        folder=None if folder is None else scratch,
    )
    reseed(derive_seed(ctx.cell, "global"))
    start = time.perf_counter()
    module.pretrain(corpus(dataset, run.labels), backbone, module.Config(**run.method.params), ctx)
    if folder is None:
        return
    where = f"pre-training with {run.method.name} on {run.dataset.info.name}"
    notes = [*notes_of(run.start, cache.artifacts), *(f"{where}: {note}" for note in (*dataset.notes, *ctx.notes))]
    save_weights(backbone, folder / WEIGHTS, cache.tokenizer(run.start, run.dataset), notes)
    told = {"seconds": time.perf_counter() - start, "workers": cache.world, "curves": ctx.curves}
    (folder / "training.json").write_text(json.dumps(told))
    shutil.rmtree(scratch)
