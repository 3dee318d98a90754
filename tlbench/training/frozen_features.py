"""Frozen features: every example of a dataset through a backbone once, kept as a file that all slots map."""

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


@torch.no_grad()
def embed(encode: Callable[[Tensor], Tensor], x: Any, rows: NDArray[np.int64] | None, device: torch.device) -> Tensor:
    """Return what ``encode`` makes of raw inputs, in batches of a fixed size, on the CPU in float32.

    Texts are taken from short to long, which saves padding, and come back in their order.

    Args:
        encode: A function of raw inputs (B, ...); a module is put into evaluation mode first.
        x: ``uint8`` images (N, C, H, W) or ``int32`` token ids (N, L), memory-mapped or not.
        rows: The rows to take, or None for all.
        device: Where to run.
    """
    if isinstance(encode, nn.Module):
        encode.eval().to(device)
    places = _from_short_to_long(x, rows)
    taken = rows if places is None else places if rows is None else rows[places]
    count = len(x) if taken is None else len(taken)
    out = []
    for start in range(0, count, EMBED_BATCH_SIZE):
        piece = slice(start, start + EMBED_BATCH_SIZE)
        batch = x[piece] if taken is None else x[taken[piece]]
        out.append(encode(torch.from_numpy(np.ascontiguousarray(batch)).to(device)).float().cpu())
    z = torch.cat(out)
    return z if places is None else torch.empty_like(z).index_copy_(0, torch.from_numpy(places), z)


def _from_short_to_long(x: Any, rows: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the positions (n,) of the texts among those to take, in that order; None where inputs are no texts."""
    if x.ndim != 2:
        return None
    lengths = text_lengths(torch.from_numpy(np.ascontiguousarray(x if rows is None else x[rows])))
    return None if lengths is None else lengths.argsort(stable=True).numpy()


class FrozenFeatures:
    """Features (N, out_dim) of one dataset under one backbone, made when first asked for.

    Args:
        artifacts: Where the file is kept.
        key: Names backbone recipe, initialisation seed and dataset content.
        make: Builds the backbone in the state in which methods are given it.
        dataset: The dataset.
        device: Where to run the backbone.
    """

    def __init__(
        self, artifacts: Artifacts, key: str, make: Callable[[], Backbone], dataset: Dataset, device: torch.device
    ) -> None:
        self._artifacts = artifacts
        self._key = key
        self._make = make
        self._dataset = dataset
        self._device = device
        self._array: NDArray[np.float32] | None = None

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the features (n, out_dim) of the given rows."""
        if self._array is None:
            folder = self._artifacts.get("features", self._key, self._build)
            self._array = np.load(folder / "features.npy", mmap_mode="c")
        return torch.from_numpy(self._array[rows])

    def _build(self, folder: Path) -> None:
        z = embed(self._make(), self._dataset.x, None, self._device)
        np.save(folder / "features.npy", z.numpy())
