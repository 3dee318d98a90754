"""The examples of a split as tensors, and the batches of each epoch, the same in every process of a group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tlbench.data.dataset import Split
from tlbench.training.augmentation.mixing import Mixtures, apply_mixtures
from tlbench.training.augmentation.policy import UNCHANGED, Augmentation, Changes, apply_changes
from tlbench.training.context import Context
from tlbench.training.length_buckets import text_lengths

_RESIDENT_BYTES = 2**31  # larger splits are moved to the device batch by batch
_MICRO_BATCHES, _MIN_MICRO_BATCH = 4, 8  # most micro-batches of a batch of texts, and fewest texts of one


class Mixed(NamedTuple):
    """The other side of mixed inputs.

    Attributes:
        y: Labels of what each input is mixed with (b,).
        shares: Weights of the inputs' own labels (b,).
    """

    y: Tensor
    shares: Tensor

    def mean(self, own: Tensor, others: Tensor) -> Tensor:
        """Return the weighted means (b,) of what belongs to an input's own label and to the other one."""
        return others.lerp(own, self.shares.to(own.dtype))


class Batch(NamedTuple):
    """One process's shard of a global batch.

    Attributes:
        rows: Positions in the split (b,), on the CPU.
        x: Augmented inputs (b, ...).
        y: Labels (b,).
        size: Number of examples in the global batch.
        mixed: What each input is mixed with; None where inputs are not mixed.
    """

    rows: Tensor
    x: Tensor
    y: Tensor
    size: int
    mixed: Mixed | None = None


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
        augmentation: Augmentation of images; other inputs are not augmented.
        ctx: Randomness and processes.
        name: Name of the training, unique within the cell.
        balanced: Whether each epoch draws as many examples with replacement, those of all classes equally often, in
            place of all examples once.

    Attributes:
        count: Number of batches of an epoch.
    """

    def __init__(
        self,
        examples: IndexedExamples,
        size: int,
        augmentation: Augmentation,
        ctx: Context,
        name: str,
        *,
        balanced: bool = False,
    ) -> None:
        self._examples = examples
        self._augmentation = augmentation if len(examples.shape) == 3 else UNCHANGED
        self._ctx = ctx
        self._name = name
        self._chances = class_weights(examples.y)[examples.y].cpu() if balanced else None
        self.count = -(-len(examples) // size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        generator = self._ctx.generator(self._name, "batches", epoch)
        order = self._order(generator)
        for rows in order.tensor_split(self.count):
            changes = self._augmentation.sample(len(rows), self._examples.shape, generator)
            mixtures = self._augmentation.sample_mixtures(len(rows), self._examples.shape, generator)
            if mixtures is not None:
                yield self._mixed(rows, changes, mixtures)
                continue
            own = self._ctx.shard(rows)
            x, y = self._examples.take(own)
            yield Batch(own, apply_changes(x, changes.map(self._ctx.shard)), y, len(rows))

    def _order(self, generator: torch.Generator) -> Tensor:
        if self._chances is None:
            return torch.randperm(len(self._examples), generator=generator)
        return torch.multinomial(self._chances, len(self._examples), replacement=True, generator=generator)

    def _mixed(self, rows: Tensor, changes: Changes, mixtures: Mixtures) -> Batch:
        """Return this process's shard of a batch of mixed images, each changed once, whoever it is mixed with."""
        own = self._ctx.shard(torch.arange(len(rows)))
        mixtures = mixtures.map(self._ctx.shard)
        read, places = torch.cat([own, mixtures.partners]).unique(return_inverse=True)
        x, y = self._examples.take(rows[read])
        x = apply_changes(x, changes.map(lambda drawn: drawn[read]))
        first, second = places.to(x.device).tensor_split(2)
        mixed = Mixed(y[second], mixtures.shares.to(x.device))
        return Batch(rows[own], apply_mixtures(x[first], x[second], mixtures), y[first], len(rows), mixed)

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """Return a batch split into micro-batches of texts of similar length.

        The gradients of their losses add up to those of the batch. Batches contain mostly short texts and a few long
        ones, so that most of a padded batch would be padding; on a CPU, whose time is proportional to the arithmetic,
        micro-batches save that time. All other batches stay whole, and so do shards of a group, whose gradients are
        averaged once a step.
        """
        pieces = length_pieces(self._examples.lengths, batch.rows, self._ctx)
        if len(pieces) == 1:
            return [batch]
        rows = [batch.rows[piece] for piece in pieces]
        return [Batch(own, *self._examples.take(own), batch.size) for own in rows]


def class_weights(labels: Tensor) -> Tensor:
    """Return the weight of each class (classes,) that makes all present ones count the same: n / (present * examples).

    The mean weight of an example is 1; a class without examples has 0.

    Args:
        labels: Labels (n,).
    """
    counts = labels.bincount().double()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0).float()


def length_pieces(lengths: Tensor | None, rows: Tensor, ctx: Context) -> list[Tensor]:
    """Return the pieces in which a process passes a batch through a network, as positions in ``rows``.

    One, unless inputs are texts, whose pieces are of similar length; see :meth:`Batches.micro_batches`.

    Args:
        lengths: Number of tokens of each example of the split (n,); None unless inputs are texts.
        rows: The batch, as positions in the split (b,).
        ctx: Device and processes.
    """
    count = min(_MICRO_BATCHES, len(rows) // _MIN_MICRO_BATCH)
    if lengths is None or count < 2 or ctx.device.type != "cpu" or ctx.group.is_distributed:
        return [torch.arange(len(rows))]
    return list(lengths[rows].argsort(stable=True).tensor_split(count))
