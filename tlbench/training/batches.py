"""The examples of a split as tensors, and the batches of each epoch, the same in every process of a group."""

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

_RESIDENT_BYTES = 2**31  # larger splits are moved to the device batch by batch
_MICRO_BATCHES, _MIN_MICRO_BATCH = 4, 8  # most micro-batches of a batch of texts, and fewest texts of one


class Batch(NamedTuple):
    """One process's shard of a global batch.

    Attributes:
        rows: Positions in the split (b,), on the CPU.
        x: Augmented inputs (b, ...).
        y: Labels (b,).
        size: Number of examples in the global batch.
    """

    rows: Tensor
    x: Tensor
    y: Tensor
    size: int


class IndexedExamples(Protocol):
    """Labelled inputs that can be taken by position.

    Attributes:
        y: Labels (n,).
        lengths: Approximate number of tokens of each text (n,), on the CPU; None unless inputs are texts.
    """

    y: Tensor
    lengths: Tensor | None

    @property
    def shape(self) -> torch.Size:
        """Shape of one input."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (b, ...) and labels (b,) at some positions (b,), on the device."""


class Examples:
    """The examples of a split as tensors; on the device, unless they take more than 2 GiB.

    Args:
        split: Raw inputs (n, ...) and labels (n,).
        device: The device of batches.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        self.device = device
        x = torch.from_numpy(split.x)
        self._x = x.to(device) if split.x.nbytes <= _RESIDENT_BYTES else x
        self.y = torch.from_numpy(split.labels).to(device)
        self.shape = x.shape[1:]
        self.lengths = text_lengths(x)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (b, ...) and labels (b,) at some positions of the split, on the device."""
        x = self._x[rows.to(self._x.device)].to(self.device, non_blocking=True)
        return x, self.y[rows.to(self.device)]


class Batches:
    """The batches of every epoch: all examples once, in a new order, in batches whose sizes differ by at most one.

    So no batch is very small: one of a single example would have no batch statistics. Order and augmentation are
    sampled for the global batch, of which each process takes its shard.

    Args:
        examples: What to train on.
        size: Largest global batch.
        augment: Augmentation of images; other inputs are not augmented.
        ctx: Randomness and processes.
        name: Name of the training, unique within the cell.

    Attributes:
        count: Number of batches of an epoch.
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
            transforms = sample_transforms(self._augment, len(rows), self._examples.shape, generator)
            own = self._ctx.shard(rows)
            x, y = self._examples.take(own)
            if self._augment != "none":
                x = apply_transforms(x, self._ctx.shard(transforms))
            yield Batch(own, x, y, len(rows))

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """Return a batch split into micro-batches of texts of similar length.

        The gradients of their losses add up to those of the batch. Batches contain mostly short texts and a few long
        ones, so that most of a padded batch would be padding; on a CPU, whose time is proportional to the arithmetic,
        micro-batches save that time. All other batches stay whole, and so do shards of a group, whose gradients are
        averaged once a step.
        """
        lengths, count = self._examples.lengths, min(_MICRO_BATCHES, len(batch.rows) // _MIN_MICRO_BATCH)
        if lengths is None or count < 2 or self._ctx.device.type != "cpu" or self._ctx.group.is_distributed:
            return [batch]
        order = lengths[batch.rows].argsort(stable=True)
        rows = [batch.rows[positions] for positions in order.tensor_split(count)]
        return [Batch(own, *self._examples.take(own), batch.size) for own in rows]
