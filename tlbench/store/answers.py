"""Test logits of finished cells, kept beside the ledger so that other metrics can be computed later.

A file holds the logits (n, classes) and the labels (n,) of one cell's test, compressed. Its name is the hash of the
logits that the record has, so that it never disagrees with it, and equal answers are kept once. Losing a file loses no
result.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlbench.store.atomic_write import write_file

MOST_LOGITS = 1 << 25
"""Number of logits of one test from which on they are not kept."""


class TestAnswers(NamedTuple):
    """The answers of one cell to its test.

    Attributes:
        logits: Logits (n, classes).
        labels: Labels (n,).
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]


def logits_hash(logits: NDArray[np.float32]) -> str:
    """Return the hash of logits (n, classes) by which a record knows them."""
    return hashlib.sha256(np.ascontiguousarray(logits, dtype="<f4").tobytes()).hexdigest()[:32]


def pack_answers(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> bytes:
    """Return the content of a file; empty where there are more logits than are kept.

    Args:
        logits: Logits (n, classes).
        labels: Labels (n,).
    """
    if logits.size > MOST_LOGITS:
        return b""
    stream = io.BytesIO()
    np.savez_compressed(stream, logits=logits.astype("<f4"), labels=labels.astype("<i8"))
    return stream.getvalue()


class AnswerFiles:
    """The answers of all cells of a workspace.

    Args:
        folder: Their folder; created when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, content: bytes) -> None:
        """Keep the answers of a cell, unless they are there.

        Args:
            name: The hash of the logits.
            content: From :func:`pack_answers`.

        Raises:
            OSError: The disk is full or not writable.
        """
        path = self._path(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content, durable=False)

    def read(self, name: str) -> TestAnswers | None:
        """Return the answers whose logits have this hash; None where they are not there, or are damaged."""
        try:
            with np.load(self._path(name), allow_pickle=False) as stored:
                found = TestAnswers(stored["logits"], stored["labels"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            return None
        return found if logits_hash(found.logits) == name else None

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.npz"
