"""Class means of support examples, and logits by squared Euclidean distance to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def prototypes(z: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Return the mean of each class (E, ways, D).

    Args:
        z: Embedded examples (E, S, D).
        labels: Their labels (E, S), in any order and any number a class.
        ways: Number of classes.
    """
    member = one_hot(labels, ways).to(z.dtype)
    return member.transpose(1, 2) @ z / member.sum(1).clamp_min(1).unsqueeze(2)


def distance_logits(z: Tensor, centres: Tensor) -> Tensor:
    """Return minus the squared Euclidean distances (E, Q, ways); softmax of it is a linear classifier.

    Both are shifted by the centres' mean first, since |z|^2 + |c|^2 - 2 z.c loses its digits far from the origin.

    Args:
        z: Embedded queries (E, Q, D).
        centres: Prototypes (E, ways, D).
    """
    z, centres = z.float(), centres.float()
    origin = centres.mean(1, keepdim=True)
    z, centres = z - origin, centres - origin
    norms = z.square().sum(2, keepdim=True) + centres.square().sum(2).unsqueeze(1)
    return torch.baddbmm(norms.neg(), z, centres.transpose(1, 2), alpha=2)
