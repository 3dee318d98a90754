"""Examples of a split as tensors, and the batches of each epoch, the same in every process of a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tlbench.core.config import Augment
from tlbench.data.dataset import Split
from tlbench.training.augmentation import apply_transforms, sample_transforms
from tlbench.training.context import Context
from tlbench.training.length_buckets import text_lengths

_RESIDENT = 2**31  # bytes of examples that are kept on the device; larger splits are moved batch by batch
_PIECES, _LEAST = 4, 8  # most pieces of a batch of texts, and fewest texts of a piece


class Batch(NamedTuple):
    """One process's share of a global batch.

    Attributes:
        rows: Positions in the split (b,), on the CPU.
        x: Inputs (b, ...), moved as the augmentation says.
        y: Labels (b,).
        size: Number of examples in the global batch.
    """

    rows: Tensor
    x: Tensor
    y: Tensor
    size: int


class IndexedExamples(Protocol):
    """Inputs with labels that can be taken by position.

    Attributes:
        y: Labels (n,).
        lengths: Tokens of each text (n,), on the CPU, if only about; None where inputs are no texts.
    """

    y: Tensor
    lengths: Tensor | None

    @property
    def shape(self) -> torch.Size:
        """Shape of one input."""

    def __len__(self) -> int:
        """Return how many there are."""

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (b, ...) and labels (b,) of some positions (b,), on the device."""


class Examples:
    """A labelled split ready to be indexed.

    Args:
        split: Raw inputs (n, ...) and labels (n,).
        device: Where batches are wanted.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        self.device = device
        x = torch.from_numpy(split.x)
        self._x = x.to(device) if split.x.nbytes <= _RESIDENT else x
        self.y = torch.from_numpy(split.labels).to(device)
        self.shape = x.shape[1:]
        self.lengths = text_lengths(x)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of some rows (positions in the split), on the device."""
        x = self._x[rows.to(self._x.device)].to(self.device, non_blocking=True)
        return x, self.y[rows.to(self.device)]


class Batches:
    """The batches of every epoch: all examples once, in a fresh order, in pieces of nearly equal size.

    No piece is left over to be tiny, as a last batch of one example has no batch statistics. Order and
    augmentation are drawn for the global batch, of which each process then takes its shard.

    Args:
        examples: What to train on.
        size: Largest global batch.
        augment: How images are moved; anything that is not an image is left alone.
        ctx: Randomness and shards.
        name: Tells the trainings of one cell apart.
    """

    def __init__(self, examples: IndexedExamples, size: int, augment: Augment, ctx: Context, name: str) -> None:
        self._examples = examples
        self._augment: Augment = augment if len(examples.shape) == 3 else "none"
        self._ctx = ctx
        self._name = name
        self.count = -(-len(examples) // size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        generator = self._ctx.generator(self._name, "batches", epoch)
        order = torch.randperm(len(self._examples), generator=generator)
        for rows in order.tensor_split(self.count):
            moves = sample_transforms(self._augment, len(rows), self._examples.shape, generator)
            own = self._ctx.shard(rows)
            x, y = self._examples.take(own)
            if self._augment != "none":
                x = apply_transforms(x, self._ctx.shard(moves))
            yield Batch(own, x, y, len(rows))

    def pieces(self, batch: Batch) -> list[Batch]:
        """Return a batch in pieces of texts of similar length; the gradients of their losses add up to its own.

        Most texts are short and one of a batch is long, so that most of it would be padding. That costs time where
        time goes by arithmetic, on a CPU. Anything else stays whole, and so does the share of one of several
        processes, whose gradients are averaged once a step.
        """
        lengths, count = self._examples.lengths, min(_PIECES, len(batch.rows) // _LEAST)
        if lengths is None or count < 2 or self._ctx.device.type != "cpu" or self._ctx.world > 1:
            return [batch]
        order = lengths[batch.rows].argsort(stable=True)
        rows = [batch.rows[places] for places in order.tensor_split(count)]
        return [Batch(own, *self._examples.take(own), batch.size) for own in rows]
