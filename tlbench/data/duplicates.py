"""Finds exact and near copies of examples among others.

Exact copies are equal; :mod:`tlbench.data.near_images` and :mod:`tlbench.data.near_texts` say what near ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlbench.data.near_images import ImageIndex
from tlbench.data.near_texts import TextIndex

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
CopyIndex = ImageIndex | TextIndex
"""Examples, prepared for a search for copies."""

Index = TypeVar("Index", ImageIndex, TextIndex)


@dataclass(frozen=True)
class Copies:
    """For each of some examples, the nearest copy among others.

    Attributes:
        row: Its row number (n,), -1 where there is none.
        distance: (n,), 0 for exact copies, infinite where there is none.
        exact: Whether it is one (n,).
    """

    row: Rows
    distance: Floats
    exact: NDArray[np.bool_]

    @property
    def exists(self) -> NDArray[np.bool_]:
        """Whether there is a copy (n,)."""
        return self.row >= 0


def copy_index(x: NDArray[Any] | Sequence[str]) -> CopyIndex:
    """Return examples prepared for a search for copies.

    Args:
        x: ``uint8`` images (N, C, H, W), or N texts.
    """
    return ImageIndex(x) if isinstance(x, np.ndarray) else TextIndex(x)


def find_copies(ours: CopyIndex, rows: Rows, others: CopyIndex, among: Rows) -> Copies:
    """Look for copies of some examples among others; an example is no copy of itself.

    Args:
        ours: Where the examples are.
        rows: Their row numbers (n,).
        others: Where to look, of the same kind.
        among: Row numbers there (m,).

    Raises:
        TypeError: They are images on one side and texts on the other.
    """
    if isinstance(ours, ImageIndex) and isinstance(others, ImageIndex):
        return _find(ours, rows, others, among)
    if isinstance(ours, TextIndex) and isinstance(others, TextIndex):
        return _find(ours, rows, others, among)
    raise TypeError("copies of images are looked for among images, and copies of texts among texts")


def _find(ours: Index, rows: Rows, others: Index, among: Rows) -> Copies:
    same = ours is others
    row, exact = _exact(ours.content[rows], others.content[among], rows, among, same)
    distance = np.where(exact, np.float32(0), np.float32(np.inf))
    position = {int(number): at for at, number in enumerate(rows)}
    for here, there in ours.candidates(rows[~exact], others, among):
        different = here != there if same else np.ones(len(here), bool)
        here, there = here[different], there[different]
        distances = ours.distances(here, others, there)
        for pair in np.flatnonzero(distances <= ours.near):
            at = position[int(here[pair])]
            if distances[pair] < distance[at]:
                distance[at], row[at] = distances[pair], there[pair]
    return Copies(row, distance, exact)


def _exact(
    ours: NDArray[np.uint64], theirs: NDArray[np.uint64], rows: Rows, among: Rows, same: bool
) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the row of an equal other for each example, -1 where there is none, and whether there is one."""
    order = np.argsort(theirs, kind="stable")
    first, after = (np.searchsorted(theirs[order], ours, side) for side in ("left", "right"))
    padded = np.append(order, [0, 0])
    itself = same & (first < after) & (among[padded[first]] == rows) if len(among) else np.zeros(len(rows), bool)
    first = first + itself
    exists = first < after
    return np.where(exists, among[padded[first]] if len(among) else -1, -1), exists
