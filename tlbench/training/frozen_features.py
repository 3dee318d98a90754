"""Frozen features: every example of a dataset through a backbone once, stored as a file that all workers map.

What embedding an example takes is measured and stored as well, so that every cell can be billed for the examples that
it reads, whoever computed their features.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.data.dataset import Dataset
from tlbench.store.array_files import write_array
from tlbench.store.artifacts import Artifacts
from tlbench.training.length_buckets import text_lengths
from tlbench.training.stopwatch import Stopwatch

EMBED_BATCH_SIZE = 256
"""Number of examples of a forward pass."""


@torch.no_grad()
def embed(encode: Callable[[Any], Tensor], x: Any, rows: NDArray[np.int64] | None, device: torch.device) -> Tensor:
    """Return the outputs of a function for raw inputs, in the order of the inputs, on the CPU in float32.

    Inputs pass in batches of a fixed size; texts in the order of their length, which reduces padding.

    Args:
        encode: A function of raw inputs (B, ...); a module is put into evaluation mode first.
        x: ``uint8`` images (N, C, H, W) or ``int32`` token ids (N, L), memory-mapped or not; or N texts, which pass
            all at once.
        rows: The rows to take, or None for all.
        device: Where to run.
    """
    if isinstance(encode, nn.Module):
        encode.eval().to(device)
    if not hasattr(x, "ndim"):
        return encode([x[row] for row in (range(len(x)) if rows is None else rows.tolist())]).float().cpu()
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


class EmbeddingPrice(NamedTuple):
    """What embedding one example takes on a kind of device.

    Attributes:
        cpu_seconds: CPU-seconds of the process.
        seconds: Wall seconds.
    """

    cpu_seconds: float
    seconds: float


class FrozenFeatures:
    """Features (N, out_dim) of one dataset under one backbone, computed on first use.

    The price of an example is measured when the features are computed, and stored apart for each kind of device; where
    they lie on disk without it, one batch is embedded to measure it.

    Args:
        artifacts: Where the file is stored.
        key: Identifies the backbone's recipe, its initialisation seed and the dataset's content.
        build: Returns the backbone exactly as methods are given it.
        dataset: The dataset.
        device: Where to run the backbone.

    Attributes:
        waiting: What :meth:`take` spent on computing the features, or on waiting for another process that did.
    """

    def __init__(
        self, artifacts: Artifacts, key: str, build: Callable[[], Backbone], dataset: Dataset, device: torch.device
    ) -> None:
        self.waiting = Stopwatch()
        self._artifacts = artifacts
        self._key = key
        self._build = build
        self._dataset = dataset
        self._device = device
        self._array: NDArray[np.float32] | None = None
        self._read = np.zeros(len(dataset.y), dtype=bool)
        self._measured: EmbeddingPrice | None = None

    def for_cell(self) -> FrozenFeatures:
        """Return the same features for one cell, of which nothing has been read yet."""
        own = copy.copy(self)
        own.waiting = Stopwatch()
        own._read = np.zeros_like(self._read)
        return own

    @property
    def examples_read(self) -> int:
        """Number of different examples whose features were taken."""
        return int(self._read.sum())

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the features (n, out_dim) of the given rows of the dataset, on the CPU."""
        if self._array is None:
            with self.waiting.running():
                folder = self._artifacts.get("features", self._key, self._write)
                if self._measured is not None:
                    self.price()
            self._array = np.load(folder / "features.npy", mmap_mode="c")
        self._read[rows] = True
        return torch.from_numpy(self._array[rows])

    def price(self) -> EmbeddingPrice:
        """Return what embedding one example takes on this kind of device; the same to all cells of this machine."""
        folder = self._artifacts.get("feature_prices", f"{self._key}-{self._device.type}", self._write_price)
        return EmbeddingPrice(**json.loads((folder / "price.json").read_text()))

    def _write(self, folder: Path) -> None:
        z, self._measured = self._embed(None)
        write_array(folder / "features.npy", z.numpy())

    def _write_price(self, folder: Path) -> None:
        price = self._measured
        if price is None:
            count = len(self._dataset.y)
            _, price = self._embed(np.unique(np.linspace(0, count - 1, min(count, EMBED_BATCH_SIZE)).astype(np.int64)))
        (folder / "price.json").write_text(json.dumps(price._asdict()))

    def _embed(self, rows: NDArray[np.int64] | None) -> tuple[Tensor, EmbeddingPrice]:
        """Return the features of some rows, or of all, and what one of them took."""
        backbone, x = self._build(), self._dataset.x
        # A first batch also sets up libraries and memory, which is no part of the price.
        embed(backbone, x, np.arange(min(EMBED_BATCH_SIZE, len(self._dataset.y))), self._device)
        stopwatch = Stopwatch()
        with stopwatch.running():
            z = embed(backbone, x, rows, self._device)
        return z, EmbeddingPrice(stopwatch.cpu_seconds / len(z), stopwatch.seconds / len(z))
