"""Colour jitter of image batches on their device, each image by its own amounts."""

from __future__ import annotations

import torch
from torch import Tensor

TOP = 255.0
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Return images with changed colours, in this order: brightness, contrast, saturation, hue.

    The formulas are torchvision's, which applies them in a random order. Grey images have no saturation and no hue.

    Args:
        x: Floating images (B, 1 or 3, H, W) in [0, 255].
        brightness: What each image is multiplied by (B,).
        contrast: What its distance from its own mean grey is multiplied by (B,).
        saturation: What its distance from grey is multiplied by (B,).
        hue: How far its hues are turned, in full turns (B,).
    """
    x = (x * _of_image(brightness, x)).clamp(0, TOP)
    x = _blend(x, luma(x).mean((1, 2, 3), keepdim=True), contrast)
    if x.shape[1] == 1:
        return x
    return turn_hue(_blend(x, luma(x), saturation), hue)


def luma(x: Tensor) -> Tensor:
    """Return images (B, 1, H, W) in grey; those of one channel are grey."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(1)


def turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Return colour images (B, 3, H, W) with every hue moved on by ``turns`` (B,) of the colour circle.

    Value and saturation stay (the hexagonal model of Smith 1978), and so does what has no colour.
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
    place = torch.remainder(sixth + corner, 6)
    return value[:, None] - chroma[:, None] * torch.minimum(place, 4 - place).clamp_(0, 1)


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(other.expand_as(x), x, _of_image(share, x)).clamp(0, TOP)


def _of_image(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x).view(-1, 1, 1, 1)
