"""Logits that are cosines times a factor, and a classifier's head that gives them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tlbench.training.precision import at_least_float32


def cosine_logits(z: Tensor, centres: Tensor, scale: Tensor | float) -> Tensor:
    """Return scale * cos(z, centre) (..., Q, ways), in single precision at least.

    Args:
        z: Embedded queries (..., Q, D).
        centres: Directions of the classes (..., ways, D).
        scale: The factor, an inverse temperature.
    """
    with torch.autocast(z.device.type, enabled=False):
        z, centres = (normalize(at_least_float32(part), dim=-1) for part in (z, centres))
        return scale * (z @ centres.transpose(-1, -2))


class CosineHead(nn.Module):
    """A head whose logits are scaled cosines between features and one direction a class.

    Args:
        width: Length of a feature vector.
        classes: Number of classes.
        scale: Factor of the cosines.
        generator: Draws where the directions start, evenly from all.
    """

    def __init__(self, width: int, classes: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(normalize(torch.randn(classes, width, generator=generator), dim=1))
        self.scale = scale

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of features (B, width)."""
        return cosine_logits(z, self.weight, self.scale)
