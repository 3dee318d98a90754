"""Texts as token ids: written once a tokeniser and dataset, and mapped like decoded images from then on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from tlbench.core.hashing import digest
from tlbench.data.dataset import Dataset
from tlbench.data.tokenizer import encode
from tlbench.store.array_files import write_array
from tlbench.store.artifacts import Artifacts

VERSION = 2
_CUT = "cut.json"
_LEAST_SHOWN = 0.001  # share below which texts are counted


def tokenize(dataset: Dataset, tokenizer: str, length: int, pad: int, artifacts: Artifacts) -> Dataset:
    """Return a dataset of texts as one of token ids, ``int32`` (N, L), padded behind; all else stays.

    Where texts are longer than the backbone reads, a note of the dataset says how many.

    Args:
        dataset: The texts.
        tokenizer: A tokeniser as JSON.
        length: Most tokens of a text; L is that of the longest text, but no more.
        pad: The id to pad with.
        artifacts: Where the ids are kept.
    """
    key = digest([VERSION, tokenizer, dataset.info.fingerprint, length, pad], length=32)

    def build(folder: Path) -> None:
        encoded = encode(tokenizer, cast("Sequence[str]", dataset.x), length, pad)
        write_array(folder / "x.npy", encoded.ids)
        (folder / _CUT).write_text(json.dumps(encoded.cut))

    folder = artifacts.get("tokens", key, build)
    cut = json.loads((folder / _CUT).read_text())
    x = np.load(folder / "x.npy", mmap_mode="c").view(np.ndarray)
    return replace(dataset, x=x, tokens=key, notes=(*dataset.notes, *_notes(dataset, cut, length)))


def _notes(dataset: Dataset, cut: int, length: int) -> Iterator[str]:
    if cut:
        share = f"{cut / len(dataset.y):.1%}" if cut / len(dataset.y) >= _LEAST_SHOWN else f"{cut}"
        yield f"{share} of the texts of {dataset.info.name} are longer than {length} tokens and are cut"
