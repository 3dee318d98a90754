"""Finds near copies among images, by the correlation of thumbnails.

Images are near where their grey thumbnails of 16x16 pixels correlate by 0.997 or more, whatever their brightness and
contrast. The bound is chosen so that copies pass and mere resemblance does not: copies with noise of two percent, in
other brightness, or saved as JPEG of quality 90 pass; of handwritten and of printed digits of 8x8 pixels and of letters
of 28x28, no two that are not copies come closer than 0.996 (of digits 0.993, of letters 0.97). Perceptual hashes of 64
bits cannot tell the two apart on images so small: the same noise flips up to 6 of them, and within 6 bits one digit in
twenty has a neighbour that is no copy. Copies that are shifted, turned or cropped are not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.data.content_hashes import content_hashes

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

NEAR = 0.003
"""Largest distance of near images: 1 - correlation."""
_SIDE, _LOW = 16, 8
_FLAT = 1.0  # grey levels: the thumbnail of an empty image is noise
_BLOCK = 2**24  # distances at once
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CHUNK = 4096


class ImageIndex:
    """Images, prepared for a search for copies; what it needs is computed when it is first used.

    Args:
        x: ``uint8`` (N, C, H, W), memory-mapped or not.
    """

    near = NEAR
    measure = "grey thumbnails of 16x16 pixels that correlate by 0.997 or more"

    def __init__(self, x: NDArray[np.uint8]) -> None:
        self._x = x

    @cached_property
    def content(self) -> NDArray[np.uint64]:
        """A hash of each image as it is (N,)."""
        shape = str(self._x.shape[1:]).encode()
        return content_hashes(shape + np.ascontiguousarray(image).tobytes() for image in self._x)

    @cached_property
    def _low(self) -> Floats:
        """The low frequencies (N, 64) of each thumbnail."""
        waves = _waves(_SIDE)[:_LOW]
        pieces = [self._thumbnails(slice(start, start + _CHUNK)) for start in range(0, len(self._x), _CHUNK)]
        return np.concatenate([(waves @ piece @ waves.T).reshape(len(piece), -1) for piece in pieces])

    @cached_property
    def _flat(self) -> NDArray[np.bool_]:
        empty: NDArray[np.bool_] = np.abs(self._low).max(axis=1, initial=0) == 0
        return empty

    def _thumbnails(self, rows: Any) -> Floats:
        """Return thumbnails (n, 16, 16) of mean 0 and norm 1; all 0 for empty images."""
        x = np.asarray(self._x[rows], np.float32)
        grey = np.tensordot(x, _LUMA, (1, 0)) if x.shape[1] == 3 else x[:, 0]
        small = _averages(grey.shape[1]) @ grey @ _averages(grey.shape[2]).T
        small -= small.mean((1, 2), keepdims=True)
        norm = np.sqrt((small**2).sum((1, 2), keepdims=True))
        return np.where(norm > _FLAT * _SIDE, small / np.maximum(norm, 1e-6), 0)

    def candidates(self, rows: Rows, others: ImageIndex, among: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Yield pairs of rows that may be near: near thumbnails differ no more than that in the low frequencies."""
        rows, among = rows[~self._flat[rows]], among[~others._flat[among]]
        theirs = others._low[among]
        half = 0.5 * (theirs**2).sum(1)
        step = max(1, _BLOCK // max(1, len(among)))
        for piece in np.split(rows, range(step, len(rows), step)):
            ours = self._low[piece]
            far = half - ours @ theirs.T + 0.5 * (ours**2).sum(1, keepdims=True)  # half the squared distance
            here, there = np.nonzero(far <= NEAR + 1e-5)
            yield piece[here], among[there]

    def distances(self, rows: Rows, others: ImageIndex, among: Rows) -> Floats:
        """Return 1 - correlation of pairs of thumbnails (n,)."""
        distances = np.zeros(len(rows), np.float32)
        for start in range(0, len(rows), _CHUNK):
            piece = slice(start, start + _CHUNK)
            ours, theirs = self._thumbnails(rows[piece]), others._thumbnails(among[piece])
            distances[piece] = 0.5 * ((ours - theirs) ** 2).sum((1, 2))
        return distances


def _averages(size: int) -> Floats:
    """Return the matrix (16, size) that brings rows of ``size`` pixels to 16: weighted means, or between two pixels."""
    scale = size / _SIDE
    centre = (np.arange(_SIDE) + 0.5) * scale
    weight = np.clip(1 - np.abs(np.arange(size) + 0.5 - centre[:, None]) / max(scale, 1.0), 0, None)
    return np.asarray(weight / weight.sum(1, keepdims=True), np.float32)


def _waves(size: int) -> Floats:
    """Return the orthonormal cosine transform (size, size), low frequencies first."""
    index = np.arange(size)
    waves = np.sqrt(2 / size) * np.cos(np.pi * (2 * index + 1) * index[:, None] / (2 * size))
    waves[0] = np.sqrt(1 / size)
    return np.asarray(waves, np.float32)
