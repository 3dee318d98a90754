"""Class means of support examples, and logits by squared Euclidean distance to them."""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.training.precision import at_least_float32


def prototypes(z: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Return the mean of each class (E, ways, D); zero for a class without examples.

    Args:
        z: Embedded examples (E, S, D).
        labels: Their labels (E, S), in any order and with any number of examples per class.
        ways: Number of classes.
    """
    member = (labels.unsqueeze(1) == torch.arange(ways, device=labels.device).unsqueeze(1)).to(z.dtype)
    return member @ z / member.sum(2, keepdim=True).clamp_min(1)


def distance_logits(z: Tensor, centres: Tensor) -> Tensor:
    """Return minus the squared Euclidean distances (E, Q, ways), up to a constant per query.

    The constant is the query's squared distance from the mean of the centres. Without it, the logits are those of a
    linear classifier with the same probabilities, 2 z.c - |c|^2, which take one matrix product. The mean of the centres
    is subtracted from them first, since these terms cancel far from the origin.

    Args:
        z: Embedded queries (E, Q, D).
        centres: Prototypes (E, ways, D).
    """
    z, centres = at_least_float32(z), at_least_float32(centres)
    origin = centres.mean(1, keepdim=True)
    centred = centres - origin
    bias = (centred * (centres + origin)).sum(2)
    return torch.baddbmm(bias.neg().unsqueeze(1), z, centred.transpose(1, 2), alpha=2)
