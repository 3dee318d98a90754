"""Keeps what each proposed model answers, so that models can be judged when training is over."""

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


class CandidateOutputs:
    """The logits of every proposed model on some parts of a dataset, by step.

    They lie in files where there is a folder for them: a cell that was killed finds those from before its last
    checkpoint again, and writes those from after it once more.

    Args:
        dataset: The dataset.
        parts: Row numbers by name.
        device: Where to run the models.
        folder: Where files are kept; None keeps all in memory.
    """

    def __init__(
        self, dataset: Dataset, parts: Mapping[str, NDArray[np.int64]], device: torch.device, folder: Path | None
    ) -> None:
        self._dataset = dataset
        self._parts = parts
        self._device = device
        self._folder = folder
        self._held: dict[int, Logits] = {}

    def keep(self, step: int, model: Callable[[Tensor], Tensor]) -> None:
        """Note what a model answers at a step."""
        logits = {name: embed(model, self._dataset.x, rows, self._device).numpy() for name, rows in self._parts.items()}
        if self._folder is None:
            self._held[step] = logits
            return
        write_file(self._file(step), lambda stream: np.savez(stream, **logits))

    @property
    def steps(self) -> list[int]:
        """The steps at which models were proposed, in order."""
        if self._folder is None:
            return sorted(self._held)
        return sorted(int(file.stem.rpartition("-")[2]) for file in self._folder.glob("proposal-*.npz"))

    def logits(self, step: int) -> Logits:
        """Return the logits (n, classes) of each part at a step."""
        if self._folder is None:
            return self._held[step]
        with np.load(self._file(step)) as stored:
            return dict(stored)

    def _file(self, step: int) -> Path:
        assert self._folder is not None
        return self._folder / f"proposal-{step}.npz"
