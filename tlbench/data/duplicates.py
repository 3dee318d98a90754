"""Finds exact and near copies of examples among others: images by their thumbnails, texts by the pieces they share.

What passes for near is chosen so that a copy is found and a likeness is not. Images are near where their grey
thumbnails of 16x16 pixels correlate by 0.997 or more, whatever their brightness and contrast. Copies with noise of two
percent, in other brightness, or saved as JPEG of quality 90 do; of handwritten and of printed digits of 8x8 pixels and
of letters of 28x28, no two that are not copies come closer than 0.996 (of digits 0.993, of letters 0.97). Perceptual
hashes of 64 bits cannot tell the two apart on pictures so small: the same noise flips up to 6 of them, and
within 6 one digit in twenty has a neighbour that is no copy. Copies that are shifted, turned or cropped are not found.

Texts are exact copies where they are equal, and near ones where they share nine tenths of their pieces of five
letters (Jaccard), case, punctuation, blanks and forms of characters apart. Candidates come from MinHash (A. Broder, On
the resemblance and containment of documents, 1997).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

NEAR_IMAGE = 0.003
NEAR_TEXT = 0.1
_SIDE, _LOW = 16, 8
_FLAT = 1.0  # grey levels: the thumbnail of an empty picture is noise
_BLOCK = 2**24  # distances at once
_PIECE, _HASHES, _BANDS = 5, 64, 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CHUNK = 4096


@dataclass(frozen=True)
class Copies:
    """For each of some examples, the nearest copy among others.

    Attributes:
        row: Its row number (n,), -1 where there is none.
        distance: (n,), 0 for exact copies.
        exact: Whether it is one (n,).
    """

    row: Rows
    distance: Floats
    exact: NDArray[np.bool_]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether there is one (n,)."""
        return self.row >= 0


class Images:
    """Images that copies are looked for in.

    Args:
        x: ``uint8`` (N, C, H, W), memory-mapped or not.
    """

    near = NEAR_IMAGE
    measure = "grey thumbnails of 16x16 pixels that correlate by 0.997 or more"

    def __init__(self, x: NDArray[np.uint8]) -> None:
        self._x = x

    @cached_property
    def content(self) -> NDArray[np.uint64]:
        """A hash of each image as it is (N,)."""
        shape = str(self._x.shape[1:]).encode()
        return _hashes(shape + np.ascontiguousarray(image).tobytes() for image in self._x)

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
        """Return thumbnails (n, 16, 16) of mean 0 and norm 1; all 0 for empty pictures."""
        x = np.asarray(self._x[rows], np.float32)
        grey = np.tensordot(x, _LUMA, (1, 0)) if x.shape[1] == 3 else x[:, 0]
        small = _averages(grey.shape[1]) @ grey @ _averages(grey.shape[2]).T
        small -= small.mean((1, 2), keepdims=True)
        norm = np.sqrt((small**2).sum((1, 2), keepdims=True))
        return np.where(norm > _FLAT * _SIDE, small / np.maximum(norm, 1e-6), 0)

    def candidates(self, rows: Rows, others: Images, among: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Yield pairs of rows that may be near: no pair of near thumbnails differs more in the low frequencies."""
        rows, among = rows[~self._flat[rows]], among[~others._flat[among]]
        theirs = others._low[among]
        half = 0.5 * (theirs**2).sum(1)
        step = max(1, _BLOCK // max(1, len(among)))
        for piece in np.split(rows, range(step, len(rows), step)):
            ours = self._low[piece]
            far = half - ours @ theirs.T + 0.5 * (ours**2).sum(1, keepdims=True)  # half the squared distance
            here, there = np.nonzero(far <= NEAR_IMAGE + 1e-5)
            yield piece[here], among[there]

    def distances(self, rows: Rows, others: Images, among: Rows) -> Floats:
        """Return 1 - correlation of pairs of thumbnails (n,)."""
        found = np.zeros(len(rows), np.float32)
        for start in range(0, len(rows), _CHUNK):
            piece = slice(start, start + _CHUNK)
            ours, theirs = self._thumbnails(rows[piece]), others._thumbnails(among[piece])
            found[piece] = 0.5 * ((ours - theirs) ** 2).sum((1, 2))
        return found


class Texts:
    """Texts that copies are looked for in.

    Args:
        x: N texts.
    """

    near = NEAR_TEXT
    measure = "texts that share 90% of their pieces of five letters"

    def __init__(self, x: Sequence[str]) -> None:
        self._x = x

    @cached_property
    def content(self) -> NDArray[np.uint64]:
        """A hash of each text as it is (N,)."""
        return _hashes(self._x[row].encode() for row in range(len(self._x)))

    @cached_property
    def _bands(self) -> NDArray[np.uint64]:
        """What texts that share most of their pieces have in common with high probability (bands, N)."""
        odd, shift = (np.random.PCG64(seed).random_raw(_HASHES)[:, None] for seed in (1, 2))
        least = np.zeros((len(self._x), _HASHES), np.uint64)
        for row in range(len(self._x)):
            least[row] = (self._pieces(row) * (odd | np.uint64(1)) + shift >> np.uint64(32)).min(1)
        grouped = least.reshape(len(self._x), _BANDS, -1)
        return np.stack([_hashes(band.tobytes() for band in grouped[:, place]) for place in range(_BANDS)])

    def _pieces(self, row: int) -> NDArray[np.uint64]:
        """Return the hashes of the different pieces of a text; of a text that is shorter than one, of all of it."""
        letters = np.frombuffer(normalised(self._x[row]).encode("utf-32-le"), np.uint32).astype(np.uint64)
        letters = np.pad(letters, (0, max(0, _PIECE - len(letters))))
        value = np.zeros(len(letters) - _PIECE + 1, np.uint64)
        for place in range(_PIECE):
            value = value * np.uint64(0x9E3779B97F4A7C15) + letters[place : place + len(value)]
            value ^= value >> np.uint64(29)
        return np.unique(value)

    def candidates(self, rows: Rows, others: Texts, among: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Yield pairs of rows that may be near."""
        seen = np.zeros(0, np.int64)
        for ours, theirs in zip(self._bands[:, rows], others._bands[:, among], strict=True):
            here, there = _equal(ours, theirs)
            code = np.setdiff1d(here * len(among) + there, seen)
            seen = np.union1d(seen, code)
            yield rows[code // len(among)], among[code % len(among)]

    def distances(self, rows: Rows, others: Texts, among: Rows) -> Floats:
        """Return 1 - share of common pieces of pairs of texts (n,)."""
        found = np.zeros(len(rows), np.float32)
        for place, (row, other) in enumerate(zip(rows.tolist(), among.tolist(), strict=True)):
            ours, theirs = self._pieces(row), others._pieces(other)
            common = len(np.intersect1d(ours, theirs, assume_unique=True))
            found[place] = 1 - common / (len(ours) + len(theirs) - common)
        return found


Examples = Images | Texts


def examples(x: NDArray[Any] | Sequence[str]) -> Examples:
    """Return examples as something that copies can be looked for in.

    Args:
        x: ``uint8`` images (N, C, H, W), or N texts.
    """
    return Images(x) if isinstance(x, np.ndarray) else Texts(x)


def copies(ours: Examples, rows: Rows, others: Examples, among: Rows) -> Copies:
    """Look for copies of some examples among others; an example is no copy of itself.

    Args:
        ours: Where the examples are.
        rows: Their row numbers (n,).
        others: Where to look, of the same kind.
        among: Row numbers there (m,).
    """
    same = ours is others
    row, exact = _exact(ours.content[rows], others.content[among], rows, among, same)
    distance = np.where(exact, np.float32(0), np.float32(np.inf))
    place = {int(number): position for position, number in enumerate(rows)}
    for here, there in ours.candidates(rows[~exact], others, among):  # type: ignore[arg-type]
        apart = here != there if same else np.ones(len(here), bool)
        here, there = here[apart], there[apart]
        found = ours.distances(here, others, there)  # type: ignore[arg-type]
        for at in np.flatnonzero(found <= ours.near):
            position = place[int(here[at])]
            if found[at] < distance[position]:
                distance[position], row[position] = found[at], there[at]
    return Copies(row, distance, exact)


def normalised(text: str) -> str:
    """Return a text without case, punctuation, repeated blanks and other forms of the same characters."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (" " if unicodedata.category(letter)[0] in "PZC" else letter for letter in plain)
    return " ".join("".join(kept).split())


def _exact(
    ours: NDArray[np.uint64], theirs: NDArray[np.uint64], rows: Rows, among: Rows, same: bool
) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the row of an equal other for each example, -1 where there is none, and whether there is one."""
    order = np.argsort(theirs, kind="stable")
    first, after = (np.searchsorted(theirs[order], ours, side) for side in ("left", "right"))
    padded = np.append(order, [0, 0])
    itself = same & (first < after) & (among[padded[first]] == rows) if len(among) else np.zeros(len(rows), bool)
    first = first + itself
    found = first < after
    return np.where(found, among[padded[first]] if len(among) else -1, -1), found


def _equal(ours: NDArray[np.uint64], theirs: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Return all pairs of positions at which two arrays agree."""
    order = np.argsort(theirs, kind="stable")
    first, after = (np.searchsorted(theirs[order], ours, side) for side in ("left", "right"))
    count = after - first
    here = np.repeat(np.arange(len(ours)), count)
    inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return here, order[np.repeat(first, count) + inside]


def _hashes(contents: Iterator[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(hashlib.blake2b(each, digest_size=8).digest() for each in contents), np.uint64)


def _averages(size: int) -> Floats:
    """Return the matrix (16, size) that brings rows of ``size`` pixels to 16: weighted means, or between two pixels."""
    scale = size / _SIDE
    centre = (np.arange(_SIDE) + 0.5) * scale
    weight = np.clip(1 - np.abs(np.arange(size) + 0.5 - centre[:, None]) / max(scale, 1.0), 0, None)
    return np.asarray(weight / weight.sum(1, keepdims=True), np.float32)


def _waves(size: int) -> Floats:
    """Return the orthonormal cosine transform (size, size), low frequencies first."""
    place = np.arange(size)
    waves = np.sqrt(2 / size) * np.cos(np.pi * (2 * place + 1) * place[:, None] / (2 * size))
    waves[0] = np.sqrt(1 / size)
    return np.asarray(waves, np.float32)
