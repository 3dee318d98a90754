"""The loop over the epochs of a training: resuming, checkpoints, best weights on validation and early stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tlbench.core.hashing import derive_seed
from tlbench.store.atomic_write import write_file
from tlbench.training.collectives import broadcast_from_rank_zero
from tlbench.training.process_group import SINGLE_PROCESS, ProcessGroup
from tlbench.training.seeding import reseed

_SAVING_SHARE = 0.02  # of the time goes into writing checkpoints
_LONGEST_PAUSE = 12.0  # intervals, however long writing takes

Curves = dict[str, list[tuple[int, float]]]
"""Values logged by step, by name."""


class Stateful(Protocol):
    """An object whose state can be saved and restored, such as an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore a state."""


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often the state of one training is saved.

    Attributes:
        file: The checkpoint file.
        interval: Least seconds of work between two checkpoints.
        on_save: Called after each of them.
    """

    file: Path
    interval: float
    on_save: Callable[[], None] = lambda: None

    def pause(self, seconds: float) -> float:
        """Return the seconds of work until the next checkpoint, after one that took so long to write.

        Writing takes a small share of the time: large networks are saved less often, but not less than every minute at
        the usual interval.
        """
        return min(max(self.interval, seconds / _SAVING_SHARE), _LONGEST_PAUSE * self.interval)


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often the state of the trainings of one cell is saved.

    Attributes:
        folder: Folder of the checkpoint files, one for each training.
        interval: Least seconds of work between two checkpoints of a training.
        on_save: Called after each checkpoint.
    """

    folder: Path
    interval: float = 5.0
    on_save: Callable[[], None] = lambda: None

    def inside(self, name: str) -> Checkpoints:
        """Return the checkpoints of a fit within this cell, in a folder of its own."""
        (self.folder / name).mkdir(exist_ok=True)
        return replace(self, folder=self.folder / name)

    def of(self, training: str) -> Checkpoint:
        """Return the checkpoint of the training of this name."""
        return Checkpoint(self.folder / f"{training}.ckpt", self.interval, self.on_save)


@dataclass(frozen=True)
class EarlyStopping:
    """When a training ends before its last epoch.

    Attributes:
        patience: Epochs without a better validation score after which it ends; None never ends it early.
        start: First epoch that counts.
    """

    patience: int | None = None
    start: int = 0


@dataclass(frozen=True)
class EpochPlan:
    """The epochs of one training.

    Attributes:
        total: Number of epochs of the whole training.
        seed: Seed of the training's randomness in this process.
        segment_end: Number of epochs after which the current segment ends; None trains to the end.
        early_stopping: When it ends early.
    """

    total: int
    seed: int
    segment_end: int | None = None
    early_stopping: EarlyStopping = EarlyStopping()


@dataclass(frozen=True)
class TrainingState:
    """The state that a checkpoint holds.

    Attributes:
        model: The module that is trained.
        stateful: Optimiser, schedule, ... by name.
        curves: The cell's curves; restored in place.
    """

    model: nn.Module
    stateful: Mapping[str, Stateful]
    curves: Curves


class Epochs:
    """Iterates over the epochs that remain, and saves enough to continue bit for bit after the process is killed.

    The global torch generator is re-seeded at the start of every epoch from the plan's seed and the epoch's number, so
    an epoch's randomness does not depend on what ran before it. A checkpoint holds model, optimiser, curves and the
    best weights so far. It is written at the end of an epoch if :meth:`Checkpoint.pause` seconds have passed since the
    last one, and at the end of a segment. A restored optimiser has the moments of the checkpoint, but keeps the
    learning rates and weight decays that it was created with, since a new segment may have others.

    Args:
        plan: The epochs.
        state: What is trained, saved and restored.
        checkpoint: Where and how often it is saved; None saves nothing.
        group: The processes that train together. Rank 0 writes checkpoints, and all continue from what it has read.
        on_epoch: Called with (epochs done, total) after each epoch.

    Attributes:
        best_epoch: Epoch of the best validation score so far: -1 for the weights before the first epoch, None without
            any score.
        best_score: That score.
    """

    def __init__(
        self,
        plan: EpochPlan,
        state: TrainingState,
        checkpoint: Checkpoint | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
        on_epoch: Callable[[int, int], None] | None = None,
    ) -> None:
        self.best_epoch: int | None = None
        self.best_score: tuple[float, ...] | None = None
        self._plan = plan
        self._state = state
        self._parts: dict[str, Stateful] = {"model": state.model, **state.stateful}
        self._checkpoint = checkpoint
        self._group = group
        self._on_epoch = on_epoch
        self._best_weights: dict[str, Tensor] | None = None
        self._epoch = 0

    def __iter__(self) -> Iterator[int]:
        self._resume()
        first, saved = self._epoch, time.monotonic()
        pause = 0.0 if self._checkpoint is None else self._checkpoint.interval
        segment_end = self._plan.segment_end
        last = self._plan.total if segment_end is None else segment_end
        while self._epoch < last and not self._patience_exhausted():
            reseed(derive_seed(self._plan.seed, "epoch", self._epoch))
            yield self._epoch
            self._epoch += 1
            if self._on_epoch is not None:
                self._on_epoch(self._epoch, self._plan.total)
            if self._checkpoint is not None and time.monotonic() - saved >= pause:
                began = time.monotonic()
                self._save()
                saved = time.monotonic()
                pause = self._checkpoint.pause(saved - began)
        if segment_end is not None and self._epoch > first:
            self._save()

    def score(self, *values: float) -> None:
        """Record the validation score of the running epoch, and keep its weights if it is the best so far.

        Larger is better; the first value decides, then the next. Of equal scores the earlier epoch's counts.
        """
        if self.best_score is None or values > self.best_score:
            self.best_score, self.best_epoch = values, self._epoch
            weights = self._state.model.state_dict()
            self._best_weights = {key: value.detach().clone() for key, value in weights.items()}

    def score_initial(self, *values: float) -> None:
        """Record the validation score of the weights before the first epoch, which count as epoch -1."""
        self.score(*values)
        self.best_epoch = -1

    def restore_best(self) -> None:
        """Load the weights and buffers of the best epoch; without any score the last epoch's stay."""
        if self._best_weights is not None:
            self._state.model.load_state_dict(self._best_weights)

    def _patience_exhausted(self) -> bool:
        stopping = self._plan.early_stopping
        if stopping.patience is None or self.best_epoch is None:
            return False
        return self._epoch - 1 - max(self.best_epoch, stopping.start - 1) >= stopping.patience

    def _save(self) -> None:
        if self._checkpoint is None or not self._group.is_first:
            return
        state = {
            "epoch": self._epoch,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "curves": self._state.curves,
            "best": (self.best_epoch, self.best_score, self._best_weights),
        }
        write_file(self._checkpoint.file, lambda stream: torch.save(state, stream))
        self._checkpoint.on_save()

    def _resume(self) -> None:
        state: dict[str, Any] | None = None
        if self._checkpoint is not None and self._group.is_first and self._checkpoint.file.exists():
            state = torch.load(self._checkpoint.file, weights_only=True, map_location="cpu")
        if self._group.is_distributed:
            state = broadcast_from_rank_zero(state)
        if state is None:
            return
        self._epoch = state["epoch"]
        for name, part in self._parts.items():
            _load(part, state["parts"][name])
        curves = self._state.curves
        curves.clear()
        curves.update({name: [(step, value) for step, value in curve] for name, curve in state["curves"].items()})
        self.best_epoch, score, self._best_weights = state["best"]
        self.best_score = tuple(score) if score is not None else None


def _load(part: Stateful, state: dict[str, Any]) -> None:
    if isinstance(part, torch.optim.Optimizer):
        groups = zip(part.state_dict()["param_groups"], state["param_groups"], strict=True)
        # The saved parameter numbers stay: by them the optimiser checks that groups have the same sizes.
        state = {**state, "param_groups": [{**own, "params": saved["params"]} for own, saved in groups]}
    part.load_state_dict(state)
