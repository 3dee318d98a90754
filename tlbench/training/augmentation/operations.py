"""RandAugment's operations on image batches, each image with its own operations and amounts.

Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space", arXiv:1909.13719:
``n`` operations of fourteen, drawn for each image, all of one magnitude. torchvision's kernels take one amount for a
whole batch, so that only its two without an amount are used here. Three details differ from the authors' code: shears
keep the centre of the image in its place, interpolation is bilinear, and pixels from outside repeat the edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from tlbench.training.augmentation.colour import MAX_VALUE, blend, luma
from tlbench.training.augmentation.placement import apply_transforms

LARGEST = 30
"""The largest magnitude."""

_ANGLE, _SHEAR, _TRANSLATION = math.radians(30), 0.3, 150 / 331  # at the largest magnitude; the last is of the size
_COLOUR = 0.9  # by which factors of brightness, colour, contrast and sharpness then differ from 1
_LOST_BITS = 4  # of a posterised pixel, at the largest magnitude
_BLUR = (1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0)  # over 13: the kernel of which sharpness is the difference


class Operations(NamedTuple):
    """What is done to B images, in the order in which it is applied; on the CPU.

    Attributes:
        kinds: Positions in :data:`OPERATIONS` (B, n).
        amounts: Signed shares of the largest magnitude in [-1, 1] (B, n).
    """

    kinds: Tensor
    amounts: Tensor


def sample_operations(count: int, number: int, magnitude: float, generator: torch.Generator) -> Operations:
    """Sample ``number`` operations, each as likely as any other, for each of ``count`` images.

    Args:
        count: Number of images.
        number: Operations of an image.
        magnitude: From 0 to 30; those that have a direction take either with probability 1/2.
        generator: A CPU generator.
    """
    kinds = torch.randint(len(OPERATIONS), (count, number), generator=generator)
    signs = 2 * torch.randint(0, 2, (count, number), generator=generator) - 1
    return Operations(kinds, signs * (magnitude / LARGEST))


def apply_operations(x: Tensor, operations: Operations) -> Tensor:
    """Return changed images (B, C, H, W), floating point in [0, 255].

    Args:
        x: Images (B, C, H, W) in [0, 255].
        operations: The result of :func:`sample_operations`.
    """
    x = x.clone() if x.is_floating_point() else x.float()
    kernels = list(OPERATIONS.values())
    for kinds, amounts in zip(operations.kinds.unbind(1), operations.amounts.unbind(1), strict=True):
        for kind, kernel in enumerate(kernels):
            rows = (kinds == kind).nonzero().squeeze(1)  # on the CPU, so that nothing waits for the device
            if kernel is not None and len(rows):
                there = rows.to(x.device)
                x[there] = kernel(x[there], amounts[rows].to(x))
    return x


def _shear_x(x: Tensor, amount: Tensor) -> Tensor:
    return _moved(x, shear_x=amount * _SHEAR)


def _shear_y(x: Tensor, amount: Tensor) -> Tensor:
    return _moved(x, shear_y=amount * _SHEAR)


def _translate_x(x: Tensor, amount: Tensor) -> Tensor:
    return _moved(x, right=amount * _TRANSLATION * x.shape[3])


def _translate_y(x: Tensor, amount: Tensor) -> Tensor:
    return _moved(x, down=amount * _TRANSLATION * x.shape[2])


def _rotate(x: Tensor, amount: Tensor) -> Tensor:
    return _moved(x, angle=amount * _ANGLE)


def _moved(
    x: Tensor,
    angle: Tensor | None = None,
    shear_x: Tensor | None = None,
    shear_y: Tensor | None = None,
    right: Tensor | None = None,
    down: Tensor | None = None,
) -> Tensor:
    """Return images that are turned anticlockwise (radians), sheared (slopes, clockwise) and shifted (pixels)."""
    height, width = x.shape[2:]
    zero = x.new_zeros(len(x))
    angle, shear_x, shear_y, right, down = (zero if a is None else a for a in (angle, shear_x, shear_y, right, down))
    cos, sin = angle.cos(), angle.sin()
    # From places of the result to places of the image, both in halves of the width and of the height.
    across = torch.stack([cos, (shear_x - sin) * height / width, -2 * right / width], 1)
    along = torch.stack([(sin + shear_y) * width / height, cos, -2 * down / height], 1)
    return apply_transforms(x, torch.stack([across, along], 1))


def _brightness(x: Tensor, amount: Tensor) -> Tensor:
    return blend(x, torch.zeros_like(x), 1 + _COLOUR * amount)


def _colour(x: Tensor, amount: Tensor) -> Tensor:
    return blend(x, luma(x), 1 + _COLOUR * amount)


def _contrast(x: Tensor, amount: Tensor) -> Tensor:
    return blend(x, luma(x).mean((1, 2, 3), keepdim=True), 1 + _COLOUR * amount)


def _sharpness(x: Tensor, amount: Tensor) -> Tensor:
    if min(x.shape[2:]) <= 2:
        return x
    kernel = x.new_tensor(_BLUR).view(1, 1, 3, 3) / sum(_BLUR)
    blurred = x.clone()
    blurred[:, :, 1:-1, 1:-1] = conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), groups=x.shape[1])
    return blend(x, blurred, 1 + _COLOUR * amount)


def _posterize(x: Tensor, amount: Tensor) -> Tensor:
    step = 2 ** (amount.abs() * _LOST_BITS).round().view(-1, 1, 1, 1)
    return (x.round() / step).floor() * step


def _solarize(x: Tensor, amount: Tensor) -> Tensor:
    threshold = (MAX_VALUE * (1 - amount.abs())).view(-1, 1, 1, 1)
    return torch.where(x >= threshold, MAX_VALUE - x, x)


def _autocontrast(x: Tensor, amount: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import autocontrast  # takes seconds to import

    out: Tensor = autocontrast(x / MAX_VALUE)
    return out * MAX_VALUE


def _equalize(x: Tensor, amount: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import equalize

    out: Tensor = equalize(x.round().to(torch.uint8))
    return out.to(x.dtype)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor] | None] = {
    "identity": None,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "colour": _colour,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""The operations of the paper: images (B, C, H, W) and amounts (B,) in [-1, 1] -> images. None of them mirrors."""
