"""Characters of five scripts in the twelve DejaVu faces that matplotlib ships: about 525 classes, no download.

Characters that look alike in any face are one class, and only then are classes split, by script: so no test class is
drawn like a training class (Latin A, Greek and Cyrillic ones coincide; italic Cyrillic п is a Latin n).
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TEST, TRAIN
from tlbench.data.decoded import Decoded
from tlbench.data.rendering import DEJAVU, code_points, draw, random_maps, versions, warp
from tlbench.data.sampling import hold_out

VERSION = 2
_EXPECTED_CLASSES = 525
_ALIKE = 0.02
_EM, _CELL, _BASELINE, _SIDE = 22, 32, 23, 28
_LETTERS = ("Lu", "Ll", "Lt", "Lo")
_SPLIT = {"latin": "train", "cyrillic": "train", "armenian": "val", "greek": "test", "georgian": "test"}
_SIGNS = {"micro": "greek", "ohm": "greek"}  # named after units, drawn as letters

Script = Literal["latin", "cyrillic", "armenian", "greek", "georgian"]


class Params(Settings):
    """How many images to make, and of what."""

    variants: int = Field(2, ge=1, le=50, description="bent copies of each character and face")
    scripts: tuple[Script, ...] | None = Field(None, min_length=1, description="scripts to keep; null keeps all five")


def signature(params: Params) -> Any:
    """Return the versions of what draws, and of the Unicode tables that tell letters."""
    return versions() | {"unicode": unicodedata.unidata_version}


def decode(params: Params, folder: Path) -> Decoded:
    """Return the images (28x28, one channel); faces are domains.

    A fifth of each class is held out for testing, evenly over the faces: so each face teaches every class, and with ten
    variants or more tests it, too.
    """
    characters = letters()
    ink = draw_all(characters)
    group = merge(ink)
    first = np.unique(group, return_index=True)[1]
    first = first[[params.scripts is None or script(characters[row]) in params.scripts for row in first]]
    classes = tuple(characters[row] for row in first)
    y, face, _ = (axis.ravel() for axis in np.indices((len(classes), len(DEJAVU), params.variants)))
    return Decoded(
        x=_bend(ink[face, first[y]])[:, None],
        y=y,
        part=np.where(hold_out([classes[label] for label in y], 0.2, over=face), TEST, TRAIN).astype(np.uint8),
        classes=classes,
        domain=face,
        domains=DEJAVU,
        class_splits=_split(classes),
        warnings=_warnings(int(group.max()) + 1),
    )


def letters() -> list[str]:
    """Return the letters that all faces draw themselves and that stand for one letter only, by code point.

    Letters that Unicode decomposes into several (accented ones, ligatures) are left out: they are near-copies.
    """
    shared = sorted(frozenset.intersection(*map(code_points, DEJAVU)))
    return [
        character
        for character in map(chr, shared)
        if unicodedata.category(character) in _LETTERS and len(unicodedata.normalize("NFKD", character)) == 1
    ]


def draw_all(characters: list[str]) -> NDArray[np.uint8]:
    """Return the characters' ink in every face (faces, n, 32, 32)."""
    return np.stack([draw(face, characters, _EM, _CELL, _BASELINE) for face in DEJAVU])


def merge(ink: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Group characters that coincide in any face, directly or through others.

    Two coincide where the squared distance of their drawings is below ``_ALIKE`` of the larger one's squared norm.

    Args:
        ink: Drawings (faces, n, h, w).

    Returns:
        Group of each character (n,), groups numbered by their first member.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    alike = np.zeros((ink.shape[1], ink.shape[1]), bool)
    for drawings in ink:
        # Whole numbers below 2^53, so float64 keeps every sum exact whatever the order of summation.
        flat = drawings.reshape(len(drawings), -1).astype(np.float64)
        norm = (flat**2).sum(1)
        distance = norm[:, None] + norm - 2 * flat @ flat.T
        alike |= distance < _ALIKE * np.maximum(norm[:, None], norm)
    _, found = connected_components(csr_array(alike), directed=False)
    _, first, member = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[member].astype(np.int64)


def _bend(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    generator = np.random.Generator(np.random.PCG64(derive_seed("glyphs", VERSION)))
    maps = random_maps(generator, len(ink), degrees=15, scale=0.2, shear=0.3) * (_SIDE / _CELL)
    centres = np.full((len(ink), 2), (_CELL - 1) / 2)
    pictures = warp(ink, maps, centres, generator.uniform(-2, 2, (len(ink), 2)), _SIDE)
    pictures += 25.5 * generator.standard_normal(pictures.shape)
    return np.clip(np.round(pictures), 0, 255).astype(np.uint8)


def script(character: str) -> str:
    """Return the script of a letter; anything but the four others counts as Latin."""
    word = unicodedata.name(character).split()[0].lower()
    return _SIGNS.get(word, word if word in _SPLIT else "latin")


def _split(classes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Split classes by the script of their first character, where scripts of every part are kept."""
    side = [_SPLIT[script(name)] for name in classes]
    split = {part: tuple(label for label, s in enumerate(side) if s == part) for part in ("train", "val", "test")}
    return split if all(split.values()) else {}


def _warnings(count: int) -> tuple[str, ...]:
    if count == _EXPECTED_CLASSES:
        return ()
    return (
        f"{count} classes instead of {_EXPECTED_CLASSES}: these versions of matplotlib's fonts, FreeType or Unicode "
        "draw or sort letters differently, so compare only with results of the same fingerprint",
    )
