"""How training images are moved: cheap, batched, on the device, with every draw made from a given generator."""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.core.config import Augment

_REACH = 8  # images shift by at most 1/8 of their height and width


def draw_moves(policy: Augment, count: int, shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return moves (count, 3) of images: rows down, columns right, and 1 where the image is mirrored.

    Args:
        policy: ``none``, ``shift`` (at random up to 1/8 of the size each way) or ``shift_flip`` (also mirrored at
            random, left to right; wrong for characters).
        count: Number of images.
        shape: Shape of one image (..., H, W).
        generator: The source of randomness; ``none`` draws nothing.
    """
    moves = torch.zeros(count, 3, dtype=torch.int64)
    if policy == "none":
        return moves
    for axis, size in enumerate(shape[-2:]):
        reach = max(1, size // _REACH)
        moves[:, axis] = torch.randint(-reach, reach + 1, (count,), generator=generator)
    if policy == "shift_flip":
        moves[:, 2] = torch.randint(0, 2, (count,), generator=generator)
    return moves


def move(x: Tensor, moves: Tensor) -> Tensor:
    """Return images (B, C, H, W) moved as ``moves`` (B, 3) says; what comes in repeats the image's edge."""
    down, right, mirrored = moves.to(x.device).unbind(1)
    height, width = x.shape[-2:]
    rows = (torch.arange(height, device=x.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) - right[:, None]).clamp(0, width - 1)
    columns = torch.where(mirrored[:, None] == 1, width - 1 - columns, columns)
    image = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
