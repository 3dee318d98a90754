"""Printed digits, made to look like the handwritten ones: the source side of a true synthetic-to-real shift.

The ten digits of 21 faces are bent, binarised at 32x32 pixels and counted in blocks of 4x4, the very step by which
the handwritten digits were made (Alpaydin and Kaynak, Cascading classifiers, 1998).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TEST, TRAIN
from tlbench.data.decoded import Decoded
from tlbench.data.rendering import DEJAVU, counts_to_bytes, draw, random_maps, versions, warp
from tlbench.data.sampling import hold_out

VERSION = 1
_FACES = (
    *DEJAVU,
    *("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
_EM, _CELL, _BASELINE = 48, 80, 60
_SIDE, _FILL = 32, 30
_INK = 128


class Params(Settings):
    """How many images to make."""

    images: int = Field(6000, ge=420, le=200_000, description="images in all, equally many of each digit and face")


def signature(params: Params) -> Any:
    """Return the versions of what draws."""
    return versions()


def decode(params: Params, folder: Path) -> Decoded:
    """Return the images, a fifth of each digit held out for testing; faces are domains."""
    number = np.arange(params.images)
    y, face = number % 10, (number // 10) % len(_FACES)
    return Decoded(
        x=counts_to_bytes(_counts(y, face))[:, None],
        y=y,
        part=np.where(hold_out([str(label) for label in y], 0.2), TEST, TRAIN).astype(np.uint8),
        classes=tuple(str(digit) for digit in range(10)),
        domain=face,
        domains=_FACES,
    )


def _counts(y: NDArray[np.int64], face: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return inked pixels (n, 8, 8), 0 ... 16, of digits y (n,) in faces (n,)."""
    ink = np.stack([draw(name, "0123456789", _EM, _CELL, _BASELINE) for name in _FACES])
    centres, extents = _boxes(ink)
    generator = np.random.Generator(np.random.PCG64(derive_seed("rendered_digits", VERSION)))
    maps = random_maps(generator, len(y), degrees=15, scale=0.1, shear=0.3)
    maps *= (_FILL / extents[face, y])[:, None, None]
    shifts = generator.uniform(-1, 1, (len(y), 2))
    pictures = warp(ink[face, y], maps, centres[face, y], shifts, _SIDE)
    inked = (pictures >= _INK).astype(np.int64)
    return np.asarray(inked.reshape(-1, 8, 4, 8, 4).sum((2, 4)))


def _boxes(ink: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre (..., 2) and longer side (...) of the ink's bounding box."""
    lines = np.stack([(ink >= _INK).any(-1), (ink >= _INK).any(-2)], axis=-2)
    first = lines.argmax(-1)
    last = lines.shape[-1] - 1 - lines[..., ::-1].argmax(-1)
    return (first + last) / 2, (last - first + 1.0).max(-1)
