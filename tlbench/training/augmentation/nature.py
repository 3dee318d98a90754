"""Which moves are usual for a kind of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.config import Moves

_SMALL = 64  # pixels; larger colour images are cropped as photographs are
_SHOWN = 64  # images of a domain by which the kind is found


def natural_moves(images: Sequence[NDArray[Any]], characters: bool) -> Moves:
    """Return the moves that are usual for the kind of images: ``crop_flip``, ``shift_flip`` or ``shift``.

    Colour images are cropped and flipped; those of up to 64 x 64 pixels are shifted and flipped, as is usual for them.
    What may be characters is shifted only: images whose classes say so, and images without colour. A heuristic, since a
    photograph may be greyscale.

    Args:
        images: Some images (n, C, H, W) of each domain.
        characters: Whether they are known to show characters or signs.
    """
    if characters or not any(map(_is_coloured, images)):
        return "shift"
    return "shift_flip" if max(max(x.shape[2:]) for x in images) <= _SMALL else "crop_flip"


def shown(x: NDArray[Any]) -> NDArray[Any]:
    """Return at most 64 of some images (n, C, H, W), at equal distances."""
    some: NDArray[Any] = x[np.linspace(0, len(x) - 1, min(_SHOWN, len(x))).round().astype(int)]
    return some


def _is_coloured(x: NDArray[Any]) -> bool:
    """Say whether any image (n, C, H, W) has channels that differ."""
    return x.shape[1] > 1 and bool((x != x[:, :1]).any())
