"""Stores the outputs of candidate models, among which the protocol selects when training is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.data.dataset import Dataset
from tlbench.store.atomic_write import write_file
from tlbench.training.frozen_features import embed

Logits = dict[str, NDArray[np.float32]]
"""Logits (n, classes) by the name of a part of a dataset."""


class CandidateOutputs:
    """The logits of every candidate model on some parts of a dataset, by training step.

    They are files if there is a folder for them: a cell that was killed finds those from before its last checkpoint
    again, and writes those from after it once more.

    Args:
        dataset: The dataset.
        parts: Row numbers by name of the part.
        device: Where to run the models.
        folder: Folder of the files; None keeps all logits in memory.
    """

    def __init__(
        self, dataset: Dataset, parts: Mapping[str, NDArray[np.int64]], device: torch.device, folder: Path | None
    ) -> None:
        self._dataset = dataset
        self._parts = parts
        self._device = device
        self._folder = folder
        self._in_memory: dict[int, Logits] = {}

    def add(self, step: int, model: Callable[[Tensor], Tensor]) -> None:
        """Compute and store the logits of a candidate.

        Args:
            step: Training steps taken before; a candidate of the same step is replaced.
            model: Maps raw inputs (B, ...) to logits (B, classes).
        """
        logits = {name: embed(model, self._dataset.x, rows, self._device).numpy() for name, rows in self._parts.items()}
        if self._folder is None:
            self._in_memory[step] = logits
        else:
            write_file(self._file(step), lambda stream: np.savez(stream, allow_pickle=False, **logits))

    @property
    def steps(self) -> list[int]:
        """The steps of all candidates, in ascending order."""
        if self._folder is None:
            return sorted(self._in_memory)
        return sorted(int(file.stem.rpartition("-")[2]) for file in self._folder.glob("proposal-*.npz"))

    def logits(self, step: int) -> Logits:
        """Return the logits (n, classes) of the candidate of a step, by part."""
        if self._folder is None:
            return self._in_memory[step]
        with np.load(self._file(step)) as stored:
            return dict(stored)

    def _file(self, step: int) -> Path:
        assert self._folder is not None
        return self._folder / f"proposal-{step}.npz"
