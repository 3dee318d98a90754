"""The precision in which similarities, distances and losses are computed, whatever the network's precision."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return a tensor in float32, or unchanged if it is in float64."""
    return x if x.dtype == torch.float64 else x.float()
