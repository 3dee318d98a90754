"""Hashes of contents, as arrays, and which positions of two such arrays agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def content_hashes(contents: Iterator[bytes]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each content (N,)."""
    return np.frombuffer(b"".join(hashlib.blake2b(each, digest_size=8).digest() for each in contents), np.uint64)


def equal_pairs(ours: NDArray[np.uint64], theirs: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Return all pairs of positions at which two arrays agree."""
    order = np.argsort(theirs, kind="stable")
    first, after = (np.searchsorted(theirs[order], ours, side) for side in ("left", "right"))
    count = after - first
    here = np.repeat(np.arange(len(ours)), count)
    inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return here, order[np.repeat(first, count) + inside]
