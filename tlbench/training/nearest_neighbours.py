"""Nearest neighbours by cosine among stored features, and the log-probabilities that their votes give."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

_CHUNK = 2**25  # similarities in memory at once


def neighbour_logits(z: Tensor, *, bank: Tensor, labels: Tensor, k: int, vote: partial[Tensor]) -> Tensor:
    """Return log-probabilities (B, classes) of features (B, D).

    Args:
        z: Features.
        bank: Features to take neighbours from, of length one (n, D).
        labels: Their labels (n,).
        k: Number of neighbours.
        vote: :func:`vote_logits` with classes and temperature.
    """
    pieces = z.split(max(1, _CHUNK // len(bank)))
    return torch.cat([vote(*find_neighbours(piece, bank, labels, k)) for piece in pieces])


def find_neighbours(z: Tensor, bank: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest cosines (B, k), descending, of features (B, D), and the labels they belong to."""
    similarity, nearest = (normalize(z.float(), dim=1) @ bank.T).topk(k)
    return similarity, labels[nearest]


def vote_logits(similarity: Tensor, labels: Tensor, *, classes: int, temperature: float) -> Tensor:
    """Return log-probabilities (B, classes) from the neighbours' cosines (B, k) and labels (B, k)."""
    rows, k = similarity.shape
    weights = (similarity / temperature).softmax(1)
    votes = weights.new_zeros(rows, classes).scatter_add_(1, labels, weights)
    return ((k * votes + 1 / classes) / (k + 1)).log()
