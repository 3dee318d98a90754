"""Gaussian blur of image batches on their device, with a width per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

_RADIUS_FRACTION = 20  # the kernel's radius is 1/20 of the height, its size a tenth of it


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Return images, some of them blurred; edges are padded by reflection.

    Args:
        x: Floating point images (B, C, H, W).
        sigma: Standard deviation of each image's kernel in pixels (B,), on the CPU; 0 leaves an image unchanged.
    """
    positions = sigma.nonzero().squeeze(1)
    if not len(positions):
        return x
    rows = positions.to(x.device)
    images = x[rows]
    radius = max(1, x.shape[-2] // _RADIUS_FRACTION)
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[positions].to(x)[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)[:, None]
    maps = pad(images, (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    maps = conv2d(maps, kernel[..., None], groups=len(kernel))
    maps = conv2d(maps, kernel[..., None, :], groups=len(kernel))
    return x.index_copy(0, rows, maps.view_as(images))
