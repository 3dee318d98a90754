"""Texts beside texts of similar length, so that little of what is computed is padding."""

from __future__ import annotations

import torch
from torch import Tensor

_POOL = 32  # batches whose texts are sorted together: more pad less, fewer mix better


def length_buckets(lengths: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return the batches of one epoch: every text once, beside texts of about its length, batches in random order.

    Texts are shuffled, dealt into pools, sorted by length inside each pool and cut; so a text has other neighbours in
    every epoch. Batches differ by at most one text.

    Args:
        lengths: Number of tokens of each text (n,).
        size: Largest batch.
        generator: Decides pools and order.

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
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def text_lengths(x: Tensor) -> Tensor | None:
    """Return how many tokens texts have (n,), told by what fills their ends; None where inputs are no token ids (n, L).

    Of a text that fills its row it may be a few less: this is for sorting, not for cutting.
    """
    if x.ndim != 2 or x.is_floating_point():
        return None
    places = torch.arange(1, x.shape[1] + 1, dtype=torch.int32, device=x.device)
    return ((x != x[:, -1:]) * places).amax(1).cpu()
