"""Draws characters with the fonts that matplotlib ships, and bends the drawings with affine maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEJAVU = tuple(
    f"DejaVu{family}{style}"
    for family, styles in (
        ("Sans", ("", "-Bold", "-Oblique", "-BoldOblique")),
        ("Serif", ("", "-Bold", "-Italic", "-BoldItalic")),
        ("SansMono", ("", "-Bold", "-Oblique", "-BoldOblique")),
    )
    for style in styles
)
_GRID = 2.0**16
_CHUNK = 1024


def versions() -> dict[str, str]:
    """Return the versions of everything that decides what a drawing looks like."""
    from matplotlib import ft2font
    from PIL import features

    return {
        "matplotlib": version("matplotlib"),
        "pillow": version("pillow"),
        "freetype": str(features.version("freetype2")),
        "freetype in matplotlib": str(ft2font.__freetype_version__),
        "numpy": version("numpy"),
    }


def font_file(face: str) -> Path:
    """Return the font file of a face that matplotlib ships."""
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


@cache
def code_points(face: str) -> frozenset[int]:
    """Return the Unicode code points that a face draws itself; any other would come out as a placeholder box."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font_file(face)).get_charmap())


def draw(face: str, characters: Sequence[str], em: int, cell: int, baseline: int) -> NDArray[np.uint8]:
    """Draw characters at one size on one baseline, each centred by its advance width.

    Nothing is fitted to the cell: o and O, or a comma and a quote, differ by size and place alone.

    Args:
        face: Name of the face.
        characters: What to draw.
        em: Font size in pixels.
        cell: Side of the square drawing in pixels.
        baseline: Row of the baseline.

    Returns:
        Ink (n, cell, cell), 0 is paper.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(font_file(face)), em, layout_engine=ImageFont.Layout.BASIC)
    ink = np.empty((len(characters), cell, cell), np.uint8)
    for row, character in enumerate(characters):
        page = Image.new("L", (cell, cell))
        ImageDraw.Draw(page).text((cell // 2, baseline), character, fill=255, font=font, anchor="ms")
        ink[row] = np.asarray(page)
    return ink


def counts_to_bytes(counts: NDArray[np.integer[Any] | np.floating[Any]]) -> NDArray[np.uint8]:
    """Map counts 0 ... 16 of inked pixels in blocks of 4x4 to bytes: count * 255 / 16, halves up, so 16 becomes 255."""
    return ((np.asarray(counts, np.int64) * 255 + 8) // 16).astype(np.uint8)


def random_maps(
    generator: np.random.Generator, count: int, *, degrees: float, scale: float, shear: float
) -> NDArray[np.float64]:
    """Draw linear maps that rotate, scale and shear, uniformly within the bounds.

    Args:
        generator: Source of randomness.
        count: Number of maps.
        degrees: Rotation is within plus or minus this.
        scale: The scale is within 1 plus or minus this.
        shear: The horizontal shear is within plus or minus this.

    Returns:
        Maps (count, 2, 2) of (row, column) offsets, drawing to picture.
    """
    angle = np.deg2rad(generator.uniform(-degrees, degrees, count))
    size = generator.uniform(1 - scale, 1 + scale, count)
    slant = generator.uniform(-shear, shear, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    lean = np.tile(np.eye(2), (count, 1, 1))
    lean[:, 1, 0] = slant
    return size[:, None, None] * (turn @ lean)


def warp(
    drawings: NDArray[np.uint8],
    maps: NDArray[np.float64],
    centres: NDArray[np.float64],
    shifts: NDArray[np.float64],
    size: int,
) -> NDArray[np.float64]:
    """Look at drawings through affine maps, with bilinear interpolation; outside a drawing there is paper.

    Coordinates are rounded to a binary grid on which all further arithmetic is exact, so that every machine gets the
    same picture bit for bit.

    Args:
        drawings: Ink (n, h, w).
        maps: Linear part (n, 2, 2), drawing to picture, in (row, column).
        centres: Point (n, 2) of the drawing that comes to the picture's centre.
        shifts: Displacement (n, 2) from there, in picture pixels.
        size: Side of the picture.

    Returns:
        Ink (n, size, size) in [0, 255].
    """
    middle = (size - 1) / 2
    row, column = np.meshgrid(np.arange(size) - middle, np.arange(size) - middle, indexing="ij")
    grid = np.stack([row.ravel(), column.ravel()])
    backward = np.round(np.linalg.inv(maps) * _GRID) / _GRID
    origin = np.round((centres - np.einsum("nij,nj->ni", backward, shifts)) * _GRID) / _GRID
    height, width = drawings.shape[1:]
    pictures = np.empty((len(drawings), size * size))
    for start in range(0, len(drawings), _CHUNK):
        part = slice(start, start + _CHUNK)
        # A frame of two pixels of paper: whatever lies outside is read from it.
        framed = np.pad(drawings[part], ((0, 0), (2, 2), (2, 2)))
        at = backward[part] @ grid + origin[part, :, None]
        y = np.clip(at[:, 0], -1.5, height + 0.5) + 2
        x = np.clip(at[:, 1], -1.5, width + 0.5) + 2
        top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        down, right = y - top, x - left
        flat = framed.reshape(-1)
        first = np.arange(len(framed))[:, None] * framed[0].size + top * framed.shape[2] + left
        upper = flat[first] * (1 - right) + flat[first + 1] * right
        lower = flat[first + framed.shape[2]] * (1 - right) + flat[first + framed.shape[2] + 1] * right
        pictures[part] = upper * (1 - down) + lower * down
    return pictures.reshape(-1, size, size)
