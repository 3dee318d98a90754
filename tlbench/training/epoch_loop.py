"""The one loop over time: resume, checkpoints, best-on-validation, early stopping and progress live here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from tlbench.core.hashing import derive_seed
from tlbench.store.atomic_write import write_file
from tlbench.training.data_parallel import broadcast_from_rank_zero
from tlbench.training.seeding import reseed


class Stateful(Protocol):
    """Anything that can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take the state over."""


class Epochs:
    """Iterates over the epochs still to do, and saves enough to continue bit for bit after a kill.

    The global torch generator is re-seeded at the start of every epoch from the cell and the epoch's number, so an
    epoch's randomness does not depend on what ran before it. A checkpoint holds model, optimiser, schedule, curves
    and the best weights so far; it is written when at least ``interval`` seconds of work would be lost otherwise, and
    at the end of a leg. An optimiser that continues has its moments from there, but the rates and decays that it was
    given, which are others where a leg begins.

    Args:
        total: Number of epochs.
        model: The module trained.
        others: Optimiser, schedule, ... by name.
        curves: The cell's curves, restored together with the model.
        seed: Seed of the cell's training randomness.
        file: Where the checkpoint is kept; None keeps none.
        patience: Stop after this many epochs without a better validation score; None never stops early.
        patient_from: The epoch from which on they are counted.
        interval: Seconds of work between checkpoints.
        writes: Whether this process writes the checkpoint (rank 0 does).
        shared: Whether processes train together; then all of them continue from what rank 0 has read.
        until: The number of epochs with which a leg ends that another one follows; None goes on to the end.
        on_epoch: Called with (epochs done, total) after each epoch.
    """

    def __init__(
        self,
        total: int,
        model: nn.Module,
        others: dict[str, Stateful],
        *,
        curves: dict[str, list[tuple[int, float]]],
        seed: int,
        file: Path | None,
        patience: int | None = None,
        patient_from: int = 0,
        interval: float = 5.0,
        writes: bool = True,
        shared: bool = False,
        until: int | None = None,
        on_epoch: Callable[[int, int], None] | None = None,
    ) -> None:
        self.total = total
        self.best_epoch: int | None = None
        self.best_score: tuple[float, ...] | None = None
        self._model = model
        self._parts: dict[str, Stateful] = {"model": model, **others}
        self._curves = curves
        self._seed = seed
        self._file = file
        self._patience = patience
        self._patient_from = patient_from
        self._interval = interval
        self._writes = writes
        self._shared = shared
        self._until = until
        self._on_epoch = on_epoch
        self._best: dict[str, torch.Tensor] | None = None
        self._epoch = 0

    def __iter__(self) -> Iterator[int]:
        self._resume()
        began, saved = self._epoch, time.monotonic()
        last = self.total if self._until is None else self._until
        while self._epoch < last and not self._exhausted():
            reseed(derive_seed(self._seed, "epoch", self._epoch))
            yield self._epoch
            self._epoch += 1
            if self._on_epoch is not None:
                self._on_epoch(self._epoch, self.total)
            if time.monotonic() - saved >= self._interval:
                self._save()
                saved = time.monotonic()
        if self._until is not None and self._epoch > began:
            self._save()

    def score(self, *values: float) -> None:
        """Take the validation score of the running epoch; larger is better, the first value decides, then the next.

        The weights of the best epoch so far are kept; of equal scores the earlier wins.
        """
        if self.best_score is None or values > self.best_score:
            self.best_score, self.best_epoch = values, self._epoch
            self._best = {key: value.detach().clone() for key, value in self._model.state_dict().items()}

    def score_start(self, *values: float) -> None:
        """Take the validation score from before the first epoch, which counts as epoch -1."""
        self.score(*values)
        self.best_epoch = -1

    def restore_best(self) -> None:
        """Put the best epoch's weights and buffers back; without any score the last epoch's stay."""
        if self._best is not None:
            self._model.load_state_dict(self._best)

    def _exhausted(self) -> bool:
        if self._patience is None or self.best_epoch is None:
            return False
        return self._epoch - 1 - max(self.best_epoch, self._patient_from - 1) >= self._patience

    def _save(self) -> None:
        if self._file is None or not self._writes:
            return
        state = {
            "epoch": self._epoch,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "curves": self._curves,
            "best": (self.best_epoch, self.best_score, self._best),
        }
        write_file(self._file, lambda stream: torch.save(state, stream))

    def _resume(self) -> None:
        state = None
        if self._file is not None and self._writes and self._file.exists():
            state = torch.load(self._file, weights_only=True, map_location="cpu")
        if self._shared:
            state = broadcast_from_rank_zero(state)
        if state is None:
            return
        self._epoch = state["epoch"]
        for name, part in self._parts.items():
            _load(part, state["parts"][name])
        self._curves.clear()
        self._curves.update({name: [tuple(point) for point in curve] for name, curve in state["curves"].items()})
        self.best_epoch, score, self._best = state["best"]
        self.best_score = tuple(score) if score is not None else None


def _load(part: Stateful, state: dict[str, Any]) -> None:
    if isinstance(part, torch.optim.Optimizer):
        groups = zip(part.state_dict()["param_groups"], state["param_groups"], strict=True)
        # The saved numbers stay, by which the optimiser sees that groups are of the same size.
        state = {**state, "param_groups": [{**given, "params": saved["params"]} for given, saved in groups]}
    part.load_state_dict(state)
