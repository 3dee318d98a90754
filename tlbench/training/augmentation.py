"""How training images are moved: cheap, batched, on the device, with every draw made from a given generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from tlbench.core.config import Augment

_REACH = 8  # images shift by at most 1/8 of their height and width
_ANGLE, _ZOOM, _SHEAR, _SLIDE = math.radians(15), 0.2, 0.3, 0.125  # largest of each in an affine move
_AREA, _ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop


def sample_transforms(
    policy: Augment, count: int, shape: torch.Size | tuple[int, ...], generator: torch.Generator
) -> Tensor:
    """Return moves of images, for :func:`apply_transforms`.

    Args:
        policy: ``none``; ``shift`` (at random up to 1/8 of the size each way); ``shift_flip`` (also mirrored at
            random, left to right); ``affine`` (turned up to 15 degrees, scaled by up to 20%, sheared by up to 0.3 and
            shifted by up to 1/8: what characters bear); ``crop_flip`` (a crop of 8 to 100% of the area and 3/4 to 4/3
            of the aspect, stretched to the whole, mirrored at random: the standard for photographs, Szegedy et al.
            2015, arXiv:1409.4842, section 6). Flips are wrong for characters.
        count: Number of images.
        shape: Shape of one image (..., H, W).
        generator: The source of randomness; ``none`` draws nothing.

    Returns:
        Rows down, columns right and 1 where mirrored (count, 3) for the first three policies; for the others the
        place in the old image, in units from -1 to 1, of each place in the new one, as affine maps (count, 2, 3).
    """
    if policy == "affine":
        return affine_matrices(torch.rand(count, 6, generator=generator) * 2 - 1)
    if policy == "crop_flip":
        return crop_matrices(torch.rand(count, 5, generator=generator))
    moves = torch.zeros(count, 3, dtype=torch.int64)
    if policy == "none":
        return moves
    for axis, size in enumerate(shape[-2:]):
        reach = max(1, size // _REACH)
        moves[:, axis] = torch.randint(-reach, reach + 1, (count,), generator=generator)
    if policy == "shift_flip":
        moves[:, 2] = torch.randint(0, 2, (count,), generator=generator)
    return moves


def apply_transforms(x: Tensor, moves: Tensor) -> Tensor:
    """Return images (B, C, H, W) moved as ``moves`` says; what comes in from outside repeats the image's edge.

    Shifts keep the images' type; affine maps interpolate, which makes them floating, on the same scale.
    """
    moves = moves.to(x.device)
    if moves.ndim == 3:
        x = x if x.is_floating_point() else x.float()
        if not len(x):  # a process may have no share of a small batch
            return x
        grid = affine_grid(moves.to(x.dtype), list(x.shape), align_corners=False)
        return grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    down, right, mirrored = moves.unbind(1)
    height, width = x.shape[-2:]
    rows = (torch.arange(height, device=x.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) - right[:, None]).clamp(0, width - 1)
    columns = torch.where(mirrored[:, None] == 1, width - 1 - columns, columns)
    image = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def affine_matrices(drawn: Tensor) -> Tensor:
    """Return maps (B, 2, 3) from six numbers (B, 6) in [-1, 1]: angle, zoom, two shears, two shifts."""
    angle, zoom, shear_x, shear_y, down, right = drawn.unbind(1)
    cos, sin, scale = (angle * _ANGLE).cos(), (angle * _ANGLE).sin(), 1 + zoom * _ZOOM
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    one = torch.ones_like(angle)
    shear = torch.stack([torch.stack([one, shear_x * _SHEAR], 1), torch.stack([shear_y * _SHEAR, one], 1)], 1)
    slide = 2 * _SLIDE * torch.stack([right, down], 1)
    return torch.cat([turn @ shear * scale[:, None, None], slide[:, :, None]], 2)


def crop_matrices(drawn: Tensor, least: float = _AREA[0], flips: bool = True) -> Tensor:
    """Return maps (B, 2, 3) from five numbers (B, 5) in [0, 1): area, aspect, place in two directions, mirror.

    Args:
        drawn: The numbers; below a half, the last mirrors the image.
        least: Smallest area of a crop, as a share of the image's.
        flips: Whether any image is mirrored.
    """
    area = least + drawn[:, 0] * (_AREA[1] - least)
    low, high = (math.log(end) for end in _ASPECT)
    aspect = torch.exp(low + drawn[:, 1] * (high - low))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    right, down = (2 * drawn[:, 2] - 1) * (1 - width), (2 * drawn[:, 3] - 1) * (1 - height)
    flip = torch.where((drawn[:, 4] < 0.5) & flips, -1.0, 1.0)
    none = torch.zeros_like(area)
    return torch.stack([torch.stack([width * flip, none, right], 1), torch.stack([none, height, down], 1)], 1)
