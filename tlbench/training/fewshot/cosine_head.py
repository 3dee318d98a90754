"""Scaled cosine logits, and a classifier head that computes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tlbench.training.precision import at_least_float32


def cosine_logits(z: Tensor, centres: Tensor, scale: Tensor | float) -> Tensor:
    """Return scale * cos(z, centre) (..., Q, ways), in at least float32.

    Args:
        z: Embedded queries (..., Q, D).
        centres: Directions of the classes (..., ways, D).
        scale: The factor, an inverse temperature.
    """
    with torch.autocast(z.device.type, enabled=False):
        z, centres = (normalize(at_least_float32(part), dim=-1) for part in (z, centres))
        return scale * (z @ centres.transpose(-1, -2))


class CosineHead(nn.Module):
    """A head whose logits are scaled cosines between features and one direction per class.

    Args:
        width: Width of the features.
        classes: Number of classes.
        scale: Factor of the cosines.
        generator: Generator of the initial directions, uniform on the sphere.
    """

    def __init__(self, width: int, classes: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(normalize(torch.randn(classes, width, generator=generator), dim=1))
        self.scale = scale

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of features (B, width)."""
        return cosine_logits(z, self.weight, self.scale)
