"""What a discriminator reads when it is to tell domains apart class by class: features times predictions.

Long, Cao, Wang and Jordan 2018, "Conditional Adversarial Domain Adaptation", arXiv:1705.10667, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LARGEST = 4096  # widest outer product that is taken as it is
_RANDOM = 1024  # width of the random projection in its place


class MultilinearConditioning(nn.Module):
    """The outer product of features and class probabilities, or a random projection of it where it is too wide.

    The projection is the product of one of the features and one of the probabilities, entry by entry, over the root
    of its width: in the mean over the normal matrices, products of two results are those of two outer products.

    Args:
        features: Width D of the features.
        classes: Number of classes C.
        generator: Draws the projections, which are not trained.

    Attributes:
        out_dim: C D, or 1,024 where that is more than 4,096.
    """

    of_features: Tensor | None
    of_classes: Tensor | None

    def __init__(self, features: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        wide = features * classes > _LARGEST
        self.out_dim = _RANDOM if wide else features * classes
        for name, width in (("of_features", features), ("of_classes", classes)):
            drawn = torch.randn(width, _RANDOM, generator=generator) if wide else None
            self.register_buffer(name, drawn)

    def forward(self, z: Tensor, p: Tensor) -> Tensor:
        """Return what to read (B, out_dim) of features (B, D) and probabilities (B, C)."""
        if self.of_features is None or self.of_classes is None:
            return (p[:, :, None] * z[:, None, :]).flatten(1)
        return (z @ self.of_features) * (p @ self.of_classes) / _RANDOM**0.5
