"""Where the pixels of moved, turned, cropped and mirrored images come from; whole batches, on their device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from tlbench.core.config import Moves

_SHIFT_FRACTION = 8  # images shift by at most 1/8 of their height and width
_ANGLE, _ZOOM, _SHEAR, _TRANSLATION = math.radians(15), 0.2, 0.3, 0.125  # maxima of the affine policy
_AREA, _ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # ranges of a random crop


def sample_transforms(
    policy: Moves,
    count: int,
    shape: torch.Size | tuple[int, ...],
    generator: torch.Generator,
    min_area: float = _AREA[0],
    crop_fraction: float = 1.0,
) -> Tensor:
    """Sample the transforms of a batch of images, for :func:`apply_transforms`.

    Args:
        policy: ``none``; ``shift`` (by up to 1/8 of the size in each direction); ``shift_flip`` (also a random
            horizontal flip); ``affine`` (rotation by up to 15 degrees, scaling by up to 20%, shear by up to 0.3 and a
            shift by up to 1/8: suitable for characters); ``crop_flip`` (a crop of 8 to 100% of the area and an aspect
            ratio of 3/4 to 4/3, resized to what the network reads of an image, with a random horizontal flip: the
            standard for photographs, Szegedy et al. 2015, arXiv:1409.4842, section 6). Flips are wrong for characters.
        count: Number of images.
        shape: Shape of one image (..., H, W).
        generator: A CPU generator; under ``none`` nothing is drawn from it.
        min_area: Smallest area of a crop, as a fraction of the image's.
        crop_fraction: Sides of the middle of an image that the network reads, as a fraction of the image's.

    Returns:
        For the first three policies rows down, columns to the right and 1 if flipped (count, 3). For the others affine
        matrices (count, 2, 3) as of ``torch.nn.functional.affine_grid``: they map output to input coordinates, both in
        [-1, 1].
    """
    if policy == "affine":
        return affine_matrices(torch.rand(count, 6, generator=generator) * 2 - 1)
    if policy == "crop_flip":
        return crop_matrices(torch.rand(count, 5, generator=generator), min_area, crop_fraction=crop_fraction)
    shifts = torch.zeros(count, 3, dtype=torch.int64)
    if policy == "none":
        return shifts
    for axis, size in enumerate(shape[-2:]):
        largest = max(1, size // _SHIFT_FRACTION)
        shifts[:, axis] = torch.randint(-largest, largest + 1, (count,), generator=generator)
    if policy == "shift_flip":
        shifts[:, 2] = torch.randint(0, 2, (count,), generator=generator)
    return shifts


def apply_transforms(x: Tensor, transforms: Tensor) -> Tensor:
    """Return transformed images (B, C, H, W); pixels from outside an image repeat its edge.

    Args:
        x: Images (B, C, H, W).
        transforms: The result of :func:`sample_transforms`. Shifts keep the dtype of the images; affine matrices
            interpolate, and return floating point values on the same scale.
    """
    transforms = transforms.to(x.device)
    if transforms.ndim == 3:
        x = x if x.is_floating_point() else x.float()
        if not len(x):  # the shard of a process may be empty
            return x
        grid = affine_grid(transforms.to(x.dtype), list(x.shape), align_corners=False)
        return grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    down, right, flipped = transforms.unbind(1)
    height, width = x.shape[-2:]
    rows = (torch.arange(height, device=x.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) - right[:, None]).clamp(0, width - 1)
    columns = torch.where(flipped[:, None] == 1, width - 1 - columns, columns)
    image = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def affine_matrices(amounts: Tensor) -> Tensor:
    """Return affine matrices (B, 2, 3) of the ``affine`` policy.

    Args:
        amounts: Fractions of the maxima in [-1, 1] (B, 6): angle, zoom, two shears, two translations.
    """
    angle, zoom, shear_x, shear_y, down, right = amounts.unbind(1)
    cos, sin, scale = (angle * _ANGLE).cos(), (angle * _ANGLE).sin(), 1 + zoom * _ZOOM
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    one = torch.ones_like(angle)
    shear = torch.stack([torch.stack([one, shear_x * _SHEAR], 1), torch.stack([shear_y * _SHEAR, one], 1)], 1)
    translation = 2 * _TRANSLATION * torch.stack([right, down], 1)
    return torch.cat([rotation @ shear * scale[:, None, None], translation[:, :, None]], 2)


def crop_matrices(
    uniform: Tensor, min_area: float = _AREA[0], flips: bool = True, crop_fraction: float = 1.0
) -> Tensor:
    """Return affine matrices (B, 2, 3) of random crops, each of which fills the middle that the network reads.

    Args:
        uniform: Random numbers in [0, 1) (B, 5): area, aspect ratio, horizontal and vertical position, flip (below
            0.5).
        min_area: Smallest area of a crop, as a fraction of the image's.
        flips: Whether images are flipped horizontally.
        crop_fraction: Sides of that middle, as a fraction of the image's.
    """
    area = min_area + uniform[:, 0] * (_AREA[1] - min_area)
    low, high = (math.log(end) for end in _ASPECT)
    aspect = torch.exp(low + uniform[:, 1] * (high - low))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    right, down = (2 * uniform[:, 2] - 1) * (1 - width), (2 * uniform[:, 3] - 1) * (1 - height)
    flip = torch.where((uniform[:, 4] < 0.5) & flips, -1.0, 1.0)
    across, along, zero = width * flip / crop_fraction, height / crop_fraction, torch.zeros_like(area)
    return torch.stack([torch.stack([across, zero, right], 1), torch.stack([zero, along, down], 1)], 1)
