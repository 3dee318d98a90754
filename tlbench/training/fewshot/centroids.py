"""The nearest class mean of frozen features: their transform, and the logits of distances."""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torch.nn.functional import normalize

from tlbench.training.fewshot.prototypes import distance_logits


def transform_features(z: Tensor, *, mean: Tensor, kind: str) -> Tensor:
    """Return features (..., D) as they are (``none``), of length one (``l2``), or that after centring (``cl2n``).

    Args:
        z: Features.
        mean: What ``cl2n`` subtracts (D,).
        kind: The transform.
    """
    if kind == "none":
        return z
    return normalize(z - mean if kind == "cl2n" else z, dim=-1)


def centroid_logits(z: Tensor, *, transform: partial[Tensor], centres: Tensor) -> Tensor:
    """Return logits (B, classes) of features (B, D).

    Args:
        z: Features.
        transform: :func:`transform_features` with mean and kind.
        centres: Class means of transformed features (1, classes, D).
    """
    return distance_logits(transform(z)[None], centres)[0]
