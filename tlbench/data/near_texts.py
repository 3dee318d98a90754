"""Finds near copies among texts, by the pieces of five letters that they share.

Texts are near where they share nine tenths of their pieces of five letters (Jaccard), case, punctuation, blanks and
forms of characters apart. Candidates come from MinHash (A. Broder, On the resemblance and containment of documents,
1997).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tlbench.data.content_hashes import content_hashes, equal_pairs

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

NEAR = 0.1
"""Largest distance of near texts: 1 - share of common pieces."""
_PIECE, _HASHES, _BANDS = 5, 64, 16


class TextIndex:
    """Texts, prepared for a search for copies; what it needs is computed when it is first used.

    Args:
        x: N texts.
    """

    near = NEAR
    measure = "texts that share 90% of their pieces of five letters"

    def __init__(self, x: Sequence[str]) -> None:
        self._x = x

    @cached_property
    def content(self) -> NDArray[np.uint64]:
        """A hash of each text as it is (N,)."""
        return content_hashes(self._x[row].encode() for row in range(len(self._x)))

    @cached_property
    def _bands(self) -> NDArray[np.uint64]:
        """Hashes (bands, N): texts that share most of their pieces have one in common with high probability."""
        odd, shift = (np.random.PCG64(seed).random_raw(_HASHES)[:, None] for seed in (1, 2))
        least = np.zeros((len(self._x), _HASHES), np.uint64)
        for row in range(len(self._x)):
            least[row] = (self._pieces(row) * (odd | np.uint64(1)) + shift >> np.uint64(32)).min(1)
        grouped = least.reshape(len(self._x), _BANDS, -1)
        return np.stack([content_hashes(row.tobytes() for row in grouped[:, band]) for band in range(_BANDS)])

    def _pieces(self, row: int) -> NDArray[np.uint64]:
        """Return the hashes of the different pieces of a text; of a text that is shorter than one, of all of it."""
        letters = np.frombuffer(normalize(self._x[row]).encode("utf-32-le"), np.uint32).astype(np.uint64)
        letters = np.pad(letters, (0, max(0, _PIECE - len(letters))))
        value = np.zeros(len(letters) - _PIECE + 1, np.uint64)
        for offset in range(_PIECE):
            value = value * np.uint64(0x9E3779B97F4A7C15) + letters[offset : offset + len(value)]
            value ^= value >> np.uint64(29)
        return np.unique(value)

    def candidates(self, rows: Rows, others: TextIndex, among: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Yield pairs of rows that may be near."""
        seen = np.zeros(0, np.int64)
        for ours, theirs in zip(self._bands[:, rows], others._bands[:, among], strict=True):
            here, there = equal_pairs(ours, theirs)
            code = np.setdiff1d(here * len(among) + there, seen)
            seen = np.union1d(seen, code)
            yield rows[code // len(among)], among[code % len(among)]

    def distances(self, rows: Rows, others: TextIndex, among: Rows) -> Floats:
        """Return 1 - share of common pieces of pairs of texts (n,)."""
        distances = np.zeros(len(rows), np.float32)
        for position, (row, other) in enumerate(zip(rows.tolist(), among.tolist(), strict=True)):
            ours, theirs = self._pieces(row), others._pieces(other)
            common = len(np.intersect1d(ours, theirs, assume_unique=True))
            distances[position] = 1 - common / (len(ours) + len(theirs) - common)
        return distances


def normalize(text: str) -> str:
    """Return a text without case, punctuation, repeated blanks and other forms of the same characters."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (" " if unicodedata.category(letter)[0] in "PZC" else letter for letter in plain)
    return " ".join("".join(kept).split())
