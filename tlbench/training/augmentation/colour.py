"""Changes of the colours of image batches on their device, with amounts per image."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_VALUE = 255.0
"""Largest value of a pixel."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Return images with changed brightness, contrast, saturation and hue, applied in this order.

    The formulas are torchvision's, which applies them in a random order. Greyscale images have no saturation and hue.

    Args:
        x: Floating point images (B, 1 or 3, H, W) in [0, 255].
        brightness: Factors of the image (B,).
        contrast: Factors of the difference from the image's mean grey (B,).
        saturation: Factors of the difference from the image's greyscale version (B,).
        hue: Hue shifts, in turns of the colour circle (B,).
    """
    x = (x * _per_image(brightness, x)).clamp(0, MAX_VALUE)
    x = blend(x, luma(x).mean((1, 2, 3), keepdim=True), contrast)
    if x.shape[1] == 1:
        return x
    return shift_hue(blend(x, luma(x), saturation), hue)


def luma(x: Tensor) -> Tensor:
    """Return the greyscale version (B, 1, H, W) of images; images of one channel are returned unchanged."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(1)


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Return colour images (B, 3, H, W) with every hue shifted by ``turns`` (B,) of the colour circle.

    Value and saturation are preserved (the hexagonal model of Smith 1978), and so are grey pixels.
    """
    red, green, blue = x.unbind(1)
    value, least = x.amax(1), x.amin(1)
    chroma = value - least
    scale = 1 / torch.where(chroma > 0, chroma, 1)
    sixth = torch.where(
        value == red,
        (green - blue) * scale,
        torch.where(value == green, (blue - red) * scale + 2, (red - green) * scale + 4),
    )
    sixth = (sixth + 6 * turns.to(x)[:, None, None])[:, None]
    corner = x.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    position = torch.remainder(sixth + corner, 6)
    return value[:, None] - chroma[:, None] * torch.minimum(position, 4 - position).clamp_(0, 1)


def blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Return images (B, C, H, W) whose difference from others is multiplied by factors (B,), within [0, 255]."""
    return torch.lerp(other.expand_as(x), x, _per_image(factor, x)).clamp(0, MAX_VALUE)


def _per_image(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x).view(-1, 1, 1, 1)
