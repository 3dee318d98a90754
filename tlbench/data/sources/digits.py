"""scikit-learn's handwritten digits: 1,797 images of 8x8 pixels, ten classes, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import TEST, TRAIN
from tlbench.data.decoded import Decoded
from tlbench.data.rendering import counts_to_bytes

VERSION = 1
_TRAIN = 900


class Params(Settings):
    """The digits have no parameters."""


def signature(params: Params) -> Any:
    """Return what decides the content besides the parameters: nothing, the file is part of scikit-learn."""
    return None


def decode(params: Params, folder: Path) -> Decoded:
    """Return the digits: 900 to train on and 897 to test on, each with its share of every class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    y = digits.target.astype(np.int64)
    return Decoded(
        x=counts_to_bytes(digits.images)[:, None],
        y=y,
        part=_split(y),
        classes=tuple(str(digit) for digit in range(10)),
    )


def _split(y: NDArray[np.int64]) -> NDArray[np.uint8]:
    share = np.bincount(y) * (_TRAIN / len(y))
    quota = np.floor(share).astype(np.int64)
    quota[np.argsort(quota - share, kind="stable")[: _TRAIN - quota.sum()]] += 1
    keys = np.random.PCG64(derive_seed("digits", "example split")).random_raw(len(y))
    part = np.full(len(y), TEST, np.uint8)
    for label, size in enumerate(quota):
        rows = np.flatnonzero(y == label)
        part[rows[np.argsort(keys[rows], kind="stable")[:size]]] = TRAIN
    return part
