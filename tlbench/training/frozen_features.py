"""Frozen features: every example of a dataset through a backbone once, stored as a file that all workers map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.data.dataset import Dataset
from tlbench.store.artifacts import Artifacts
from tlbench.training.length_buckets import text_lengths

EMBED_BATCH_SIZE = 256
"""Number of examples of a forward pass."""


@torch.no_grad()
def embed(encode: Callable[[Tensor], Tensor], x: Any, rows: NDArray[np.int64] | None, device: torch.device) -> Tensor:
    """Return the outputs of a function for raw inputs, in the order of the inputs, on the CPU in float32.

    Inputs pass in batches of a fixed size; texts in the order of their length, which reduces padding.

    Args:
        encode: A function of raw inputs (B, ...); a module is put into evaluation mode first.
        x: ``uint8`` images (N, C, H, W) or ``int32`` token ids (N, L), memory-mapped or not.
        rows: The rows to take, or None for all.
        device: Where to run.
    """
    if isinstance(encode, nn.Module):
        encode.eval().to(device)
    order = _length_order(x, rows)
    taken = rows if order is None else order if rows is None else rows[order]
    count = len(x) if taken is None else len(taken)
    out = []
    for start in range(0, count, EMBED_BATCH_SIZE):
        piece = slice(start, start + EMBED_BATCH_SIZE)
        batch = x[piece] if taken is None else x[taken[piece]]
        out.append(encode(torch.from_numpy(np.ascontiguousarray(batch)).to(device)).float().cpu())
    z = torch.cat(out)
    return z if order is None else torch.empty_like(z).index_copy_(0, torch.from_numpy(order), z)


def _length_order(x: Any, rows: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the positions (n,) of the texts to take, from short to long; None unless inputs are texts."""
    if x.ndim != 2:
        return None
    lengths = text_lengths(torch.from_numpy(np.ascontiguousarray(x if rows is None else x[rows])))
    if lengths is None:
        return None
    order: NDArray[np.int64] = lengths.argsort(stable=True).numpy()
    return order


class FrozenFeatures:
    """Features (N, out_dim) of one dataset under one backbone, computed on first use.

    Args:
        artifacts: Where the file is stored.
        key: Identifies the backbone's recipe, its initialisation seed and the dataset's content.
        build: Returns the backbone exactly as methods are given it.
        dataset: The dataset.
        device: Where to run the backbone.
    """

    def __init__(
        self, artifacts: Artifacts, key: str, build: Callable[[], Backbone], dataset: Dataset, device: torch.device
    ) -> None:
        self._artifacts = artifacts
        self._key = key
        self._build = build
        self._dataset = dataset
        self._device = device
        self._array: NDArray[np.float32] | None = None

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the features (n, out_dim) of the given rows of the dataset, on the CPU."""
        if self._array is None:
            folder = self._artifacts.get("features", self._key, self._write)
            self._array = np.load(folder / "features.npy", mmap_mode="c")
        return torch.from_numpy(self._array[rows])

    def _write(self, folder: Path) -> None:
        z = embed(self._build(), self._dataset.x, None, self._device)
        np.save(folder / "features.npy", z.numpy())
