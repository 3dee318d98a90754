"""Batches of texts of similar length, which need little padding."""

from __future__ import annotations

import torch
from torch import Tensor

_POOL = 32  # batches whose texts are sorted together: larger pools need less padding, smaller ones mix better


def length_buckets(lengths: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return the batches of one epoch: every text once, batched with texts of similar length, in random order.

    Texts are shuffled, divided into pools, sorted by length inside each pool and cut into batches; so a text shares its
    batch with other texts in every epoch. Sizes of batches differ by at most one.

    Args:
        lengths: Number of tokens of each text (n,).
        size: Largest batch.
        generator: Generator of pools and order.

    Returns:
        Positions of the texts of each batch.
    """
    pieces = torch.randperm(len(lengths), generator=generator).tensor_split(-(-len(lengths) // size))
    batches: list[Tensor] = []
    for start in range(0, len(pieces), _POOL):
        group = pieces[start : start + _POOL]
        pool = torch.cat(group)
        pool = pool[lengths[pool].argsort(stable=True)]
        batches += pool.split([len(piece) for piece in group])
    return [batches[position] for position in torch.randperm(len(batches), generator=generator).tolist()]


def text_lengths(x: Tensor) -> Tensor | None:
    """Return the approximate number of tokens of texts (n,), on the CPU; None unless inputs are token ids (n, L).

    A text is taken to end where its last token starts to repeat to the end of the row, which is the padding. The result
    is too small for a text that fills its row and ends in repeated tokens: it serves for sorting, not for cutting.
    """
    if x.ndim != 2 or x.is_floating_point():
        return None
    positions = torch.arange(1, x.shape[1] + 1, dtype=torch.int32, device=x.device)
    return ((x != x[:, -1:]) * positions).amax(1).cpu()
