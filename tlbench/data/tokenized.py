"""Texts as token ids: written once a tokeniser and dataset, and mapped like decoded images from then on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tlbench.core.hashing import digest
from tlbench.data.dataset import Dataset
from tlbench.data.tokenizer import encode
from tlbench.store.array_files import write_array
from tlbench.store.artifacts import Artifacts

VERSION = 1


def tokenize(dataset: Dataset, tokenizer: str, length: int, pad: int, artifacts: Artifacts) -> Dataset:
    """Return a dataset of texts as one of token ids, ``int32`` (N, L), padded behind; all else stays.

    Args:
        dataset: The texts.
        tokenizer: A tokeniser as JSON.
        length: Most tokens of a text; L is that of the longest text, but no more.
        pad: The id to pad with.
        artifacts: Where the ids are kept.
    """
    key = digest([VERSION, tokenizer, dataset.info.fingerprint, length, pad], length=32)

    def build(folder: Path) -> None:
        write_array(folder / "x.npy", encode(tokenizer, dataset.x, length, pad))

    file = artifacts.get("tokens", key, build) / "x.npy"
    return replace(dataset, x=np.load(file, mmap_mode="c").view(np.ndarray), tokens=key)
