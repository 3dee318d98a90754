"""Pre-training runs: made once, kept as weights files, shared by every cell that names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tlbench.backbones.weights import save_weights
from tlbench.core import registry
from tlbench.core.cell import Pretrain
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TRAIN, Dataset, Split, take
from tlbench.training.context import Context

if TYPE_CHECKING:
    from tlbench.execution.warm import Warm


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

    A killed run continues from its last checkpoint.

    Args:
        run: What to train.
        key: The resulting backbone's key.
        warm: Shared pieces of this process.
    """

    def train(folder: Path) -> None:
        scratch = warm.artifacts.root / "running" / f"pretrain-{key}"
        scratch.mkdir(parents=True, exist_ok=True)
        dataset = warm.dataset(run.dataset)
        backbone = warm.own_backbone(run.start, run.seed)
        module = registry.declaration("methods", run.method.name).load()
        ctx = Context(cell=f"pretrain-{key}", device=warm.device, folder=scratch)
        torch.manual_seed(derive_seed(ctx.cell, "global"))
        module.pretrain(corpus(dataset), backbone, module.Config(**run.method.params), ctx)
        save_weights(backbone, folder / "weights.safetensors")
        (folder / "training.json").write_text(json.dumps({"curves": ctx.curves, "selected": ctx.selected}))
        for file in scratch.glob("*"):
            file.unlink()
        scratch.rmdir()

    return warm.artifacts.get("pretrained", key, train) / "weights.safetensors"
