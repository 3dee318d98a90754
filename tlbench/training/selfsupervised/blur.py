"""Gaussian blur of image batches on their device, each image by its own width."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

_PART = 20  # the kernel reaches 1/20 of the height each way, so it is a tenth of the height in all


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Return images, some of them blurred, with the image mirrored at its edge.

    Args:
        x: Floating images (B, C, H, W).
        sigma: Standard deviation of each image's kernel in pixels (B,), on the CPU; 0 leaves an image as it is.
    """
    chosen = sigma.nonzero().squeeze(1)
    if not len(chosen):
        return x
    at = chosen.to(x.device)
    picked = x[at]
    radius = max(1, x.shape[-2] // _PART)
    places = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (places / sigma[chosen].to(x)[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)[:, None]
    maps = pad(picked, (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    maps = conv2d(maps, kernel[..., None], groups=len(kernel))
    maps = conv2d(maps, kernel[..., None, :], groups=len(kernel))
    return x.index_copy(0, at, maps.view_as(picked))
