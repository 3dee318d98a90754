"""Mixtures of two images of a batch, and of their labels.

Mixup: Zhang et al. 2018, arXiv:1710.09412: the weighted mean of both images. CutMix: Yun et al. 2019, arXiv:1905.04899:
a box of the image is that of the other one. In either case the label has the same mixture. Every image has a weight of
its own, where the papers draw one for a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Mixed = Literal["mixup", "cutmix"]

USUAL_ALPHA: dict[Mixed, float] = {"mixup": 0.2, "cutmix": 1.0}
"""The parameters of the beta distribution, as in the papers' experiments on ImageNet."""


class Mixtures(NamedTuple):
    """How B images of a batch are mixed with others of it; on the CPU.

    Attributes:
        partners: Positions of the other images in the batch (B,).
        shares: Weight of an image's own label (B,), and of its own pixels.
        boxes: First row, first column, last row + 1 and last column + 1 of the box that is the other image's (B, 4);
            None for a weighted mean.
    """

    partners: Tensor
    shares: Tensor
    boxes: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> Mixtures:
        """Return the mixtures with a function applied to every tensor."""
        return Mixtures(
            function(self.partners), function(self.shares), None if self.boxes is None else function(self.boxes)
        )


def sample_mixtures(
    mix: Mixed, alpha: float, count: int, shape: torch.Size | tuple[int, ...], generator: torch.Generator
) -> Mixtures:
    """Sample the mixtures of a batch.

    Args:
        mix: Which of the two.
        alpha: Both parameters of the beta distribution of the weights.
        count: Number of images.
        shape: Shape of one image (..., H, W).
        generator: A CPU generator.
    """
    partners = torch.randperm(count, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))  # torch has no beta distribution that takes a generator
    shares = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count)).float()
    if mix == "mixup":
        return Mixtures(partners, shares, None)
    size = torch.tensor(shape[-2:])
    half = (size * (1 - shares).sqrt()[:, None] / 2).round().long()
    centre = (torch.rand(count, 2, generator=generator) * size).long()
    low, high = (centre - half).clamp(min=0), torch.minimum(centre + half, size)
    cut = (high - low).prod(1) / size.prod()
    return Mixtures(partners, 1 - cut, torch.cat([low, high], 1))


def apply_mixtures(x: Tensor, others: Tensor, mixtures: Mixtures) -> Tensor:
    """Return mixed images (B, C, H, W), floating point on the scale of the given ones.

    Args:
        x: Images (B, C, H, W).
        others: The image that each is mixed with (B, C, H, W).
        mixtures: Weights or boxes; their partners are not read.
    """
    x, others = (part if part.is_floating_point() else part.float() for part in (x, others))
    if mixtures.boxes is None:
        return others.lerp(x, mixtures.shares.to(x).view(-1, 1, 1, 1))
    top, left, bottom, right = mixtures.boxes.to(x.device).view(-1, 4, 1, 1).unbind(1)
    rows = torch.arange(x.shape[2], device=x.device)[:, None]
    columns = torch.arange(x.shape[3], device=x.device)
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return torch.where(inside[:, None], others, x)
