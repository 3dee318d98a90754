"""Batches of texts with masked tokens, the same in every process of a group."""

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
    """One process's shard of a global batch.

    Attributes:
        ids: Token ids, some masked (b, L); L is the same in every process.
        rows: The text of each selected token (m,).
        columns: Its position in the text (m,).
        tokens: The original token at that position (m,).
        selected: Number of selected tokens in the global batch.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    tokens: Tensor
    selected: int


class MaskedBatches:
    """The batches of every epoch: all texts once, batched with texts of similar length, with new masks in each epoch.

    Texts are masked on the CPU, for the global batch, of which each process takes its shard; so every process knows
    the number of selected tokens in all shards without waiting for a device. Random replacement tokens are those that
    occur in any of the texts.

    Args:
        texts: ``int32`` token ids (n, L), padded.
        backbone: Provides the vocabulary and the preparation of texts.
        size: Largest global batch.
        probability: Probability that a token is selected.
        ctx: Randomness, processes and device.
        name: Name of the training, unique within the cell.

    Attributes:
        count: Number of batches of an epoch.
    """

    def __init__(
        self, texts: NDArray[np.int32], backbone: Backbone, size: int, probability: float, ctx: Context, name: str
    ) -> None:
        assert backbone.vocabulary is not None
        self._vocabulary = backbone.vocabulary
        self._texts = torch.from_numpy(texts)
        self._replacements = non_special_tokens(self._texts, self._vocabulary)
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
            inputs, labels = mask_tokens(ids, self._vocabulary, self._replacements, self._probability, generator)
            own = ctx.shard(labels)
            rows, columns = (own != IGNORE_INDEX).nonzero(as_tuple=True)
            yield MaskedBatch(
                ids=ctx.shard(inputs).to(ctx.device),
                rows=rows.to(ctx.device),
                columns=columns.to(ctx.device),
                tokens=own[rows, columns].to(ctx.device),
                selected=int((labels != IGNORE_INDEX).sum()),
            )
