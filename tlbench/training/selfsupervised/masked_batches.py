"""Batches of texts with hidden tokens, the same in every process of a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.training.context import Context
from tlbench.training.length_buckets import length_buckets
from tlbench.training.selfsupervised.masking import IGNORE_INDEX, mask_tokens, non_special_tokens


class MaskedBatch(NamedTuple):
    """One process's share of a global batch.

    Attributes:
        ids: Token ids, some hidden (b, L); L is the same in every process.
        rows: The text of each selected token (m,).
        columns: Its place in the text (m,).
        tokens: The token that stood there (m,).
        selected: Number of selected tokens in the global batch.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    tokens: Tensor
    selected: int


class MaskedBatches:
    """The batches of every epoch: all texts once, beside texts of similar length, with tokens hidden anew.

    Texts are masked on the CPU, for the global batch, of which each process then takes its shard; so every process
    knows how many tokens are selected in all of them, and no device is waited for. Random tokens are drawn from those
    that any of the texts holds.

    Args:
        texts: ``int32`` token ids (n, L), padded.
        backbone: Its vocabulary, and how it has texts prepared.
        size: Largest global batch.
        probability: Chance of a token to be selected.
        ctx: Randomness, shards and device.
        name: Tells the trainings of one cell apart.
    """

    def __init__(
        self, texts: NDArray[np.int32], backbone: Backbone, size: int, probability: float, ctx: Context, name: str
    ) -> None:
        assert backbone.vocabulary is not None
        self._vocabulary = backbone.vocabulary
        self._texts = torch.from_numpy(texts)
        self._ordinary = non_special_tokens(self._texts, self._vocabulary)
        self._lengths = (self._texts != self._vocabulary.pad).sum(1)
        self._prepare = backbone.prepare
        self._size = size
        self._probability = probability
        self._ctx = ctx
        self._name = name
        self.count = -(-len(texts) // size)

    def epoch(self, epoch: int) -> Iterator[MaskedBatch]:
        """Yield the batches of one epoch."""
        ctx = self._ctx
        generator = ctx.generator(self._name, "masks", epoch)
        for texts in length_buckets(self._lengths, self._size, generator):
            ids = self._prepare(self._texts[texts])
            inputs, labels = mask_tokens(ids, self._vocabulary, self._ordinary, self._probability, generator)
            own = ctx.shard(labels)
            rows, columns = (own != IGNORE_INDEX).nonzero(as_tuple=True)
            parts = (ctx.shard(inputs), rows, columns, own[rows, columns])
            yield MaskedBatch(*(part.to(ctx.device) for part in parts), selected=int((labels != IGNORE_INDEX).sum()))
