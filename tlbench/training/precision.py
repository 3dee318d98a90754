"""In what precision similarities, distances and losses are computed, whatever the network ran in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return a tensor in single precision; one in double precision as it is."""
    return x if x.dtype == torch.float64 else x.float()
