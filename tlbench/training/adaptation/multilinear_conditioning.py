"""Multilinear conditioning: the input of a discriminator that compares domains class by class.

Long, Cao, Wang and Jordan 2018, "Conditional Adversarial Domain Adaptation", arXiv:1705.10667, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_MAX_WIDTH = 4096  # widest outer product that is used as it is
_PROJECTED_WIDTH = 1024  # width of the random projection that replaces a wider one


class MultilinearConditioning(nn.Module):
    """The outer product of features and class probabilities, or a random projection of it if that is too wide.

    The projection is the element-wise product of a random projection of the features and one of the probabilities,
    divided by the square root of its width: in expectation over the Gaussian matrices, inner products of two
    projections equal those of the outer products.

    Args:
        features: Width D of the features.
        classes: Number of classes C.
        generator: Generator of the projection matrices, which are not trained.

    Attributes:
        out_dim: C D, or 1,024 if that is more than 4,096.
    """

    feature_projection: Tensor | None
    class_projection: Tensor | None

    def __init__(self, features: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        projects = features * classes > _MAX_WIDTH
        self.out_dim = _PROJECTED_WIDTH if projects else features * classes
        for name, width in (("feature_projection", features), ("class_projection", classes)):
            matrix = torch.randn(width, _PROJECTED_WIDTH, generator=generator) if projects else None
            self.register_buffer(name, matrix)

    def forward(self, z: Tensor, p: Tensor) -> Tensor:
        """Return the conditioned features (B, out_dim) of features (B, D) and class probabilities (B, C)."""
        if self.feature_projection is None or self.class_projection is None:
            return (p[:, :, None] * z[:, None, :]).flatten(1)
        projected: Tensor = (z @ self.feature_projection) * (p @ self.class_projection) / _PROJECTED_WIDTH**0.5
        return projected
