"""The context of a fit: device, randomness, the epoch loop, data parallelism, and what the method reports."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from tlbench.core.config import Precision
from tlbench.core.hashing import derive_seed
from tlbench.core.segments import epochs_until
from tlbench.data.dataset import Split
from tlbench.data.episode_file import GivenEpisode
from tlbench.data.folds import Fold
from tlbench.training.data_parallel import data_parallel
from tlbench.training.epoch_loop import (
    Checkpoints,
    Curves,
    EarlyStopping,
    EpochPlan,
    Epochs,
    Stateful,
    TrainingState,
)
from tlbench.training.frozen_features import FrozenFeatures
from tlbench.training.metric import Metric
from tlbench.training.process_group import SINGLE_PROCESS, ProcessGroup
from tlbench.training.validation_scores import Candidates, Choice, Key, ValidationScores, by_metric

C = TypeVar("C", float, int, str)

NO_EARLY_STOPPING = EarlyStopping()


@dataclass
class Context:
    """What a method is given besides task, backbone and configuration; the same in tests, workers and data parallel.

    Attributes:
        random_root: The root of all the cell's randomness; seeds are derived from it. Usually the cell's id.
        device: Where to train.
        features: Frozen features of the task's dataset under the given backbone; None where there are none.
        teacher: The trained teacher: maps raw inputs (B, ...) to logits (B, classes); on the device, in evaluation
            mode, without gradients. None where the method has none.
        metric: What the suite is scored by, and by which everything is chosen on validation; None is accuracy.
        precision: Precision of matrix products and convolutions in training steps. Losses, distances, optimiser and
            evaluation are in float32 in either case.
        group: The processes that train together, and this one's rank among them.
        checkpoints: Where and how often trainings are saved; None saves nothing.
        segment_end: Mark (:mod:`tlbench.core.segments`) at which the training named ``fit`` is interrupted, to continue
            in the next segment; None trains to the end.
        on_epoch: Called with (epochs done, total) after each epoch of any training.
        on_candidate: Called with (step, model) for each candidate for model selection; set by the protocol.
        characters: Whether images are known to show characters or signs, which a mirrored one may turn into others.
        crop_fraction: Sides of the middle of an image that the network reads, as a fraction of the image's.
        oracle: Whether the method sees the target's training labels, so that its results are never ranked.
        validation_only: Whether the test split stays unread and only validation scores are reported, as in a search.
        validation_root: The root of the seeds of validation draws, as of episodes; empty is ``random_root``. All trials
            of one search have the same, so that they meet the same episodes.
        fold: The fold of the label budget to validate on, in place of the part that is held out; None where it is that.
        followed: Labelled examples whose scores a training logs after each epoch, and by which it chooses nothing; set
            by the protocol. None follows the task's own validation examples, if there are any.
        episodes: Test episodes that a file gives; None where the protocol draws them, or poses none.
        fixed: Choices that were made before, by name, and that the method does not make again: ``C`` of a probe, the
            ``epoch`` after which the training named ``fit`` ends; set by the protocol.
        candidates: The validation scores of all candidates of each choice; filled by :meth:`choose`.
        curves: Values logged by step, by name.
        selected: Hyper-parameters that the method chose on validation, by name; filled by the method.
        validation: The validation scores of that choice, by name; filled by the method.
        notes: Warnings for the record; filled by method and protocol.
    """

    random_root: str
    device: torch.device
    features: FrozenFeatures | None = None
    teacher: nn.Module | None = None
    metric: Metric | None = None
    precision: Precision = "float32"
    group: ProcessGroup = SINGLE_PROCESS
    checkpoints: Checkpoints | None = None
    segment_end: int | None = None
    on_epoch: Callable[[int, int], None] | None = None
    on_candidate: Callable[[int, Callable[[Tensor], Tensor]], None] | None = None
    characters: bool = False
    crop_fraction: float = 1.0
    oracle: bool = False
    validation_only: bool = False
    validation_root: str = ""
    fold: Fold | None = None
    followed: Split | None = None
    episodes: tuple[GivenEpisode, ...] | None = None
    fixed: Mapping[str, Choice] = field(default_factory=dict)
    candidates: dict[str, Candidates] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    selected: dict[str, Choice] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def seed(self, *purpose: str | int) -> int:
        """Return the seed of one purpose."""
        return derive_seed(self.random_root, *purpose)

    def validation_seed(self, *purpose: str | int) -> int:
        """Return the seed of one purpose of validation."""
        return derive_seed(self.validation_root or self.random_root, *purpose)

    def generator(self, *purpose: str | int) -> torch.Generator:
        """Return a CPU generator for one purpose; the same in every process of a group."""
        return torch.Generator().manual_seed(self.seed(*purpose))

    def log(self, step: int, **values: float) -> None:
        """Append values to the curves of those names; values that are not finite are left out."""
        for name, value in values.items():
            if math.isfinite(value):
                self.curves.setdefault(name, []).append((step, float(value)))

    def choose(self, name: str, scores: Mapping[C, ValidationScores], key: Key = by_metric) -> C:
        """Return the candidate with the best validation score, the first of equals, and keep the scores of all.

        Args:
            name: What is chosen, as in :attr:`selected`.
            scores: Scores of one candidate or more.
            key: By what they are compared; larger is better.
        """
        self.candidates[name] = Candidates({value: scores[value] for value in scores}, key)
        return max(scores, key=lambda value: key(scores[value]))

    def report_validation(self, scores: ValidationScores) -> None:
        """Put scores into :attr:`validation`, the metric that the suite chose under its name."""
        self.validation.update(accuracy=scores.accuracy, nll=scores.nll)
        if self.metric is not None and scores.chosen is not None:
            self.validation[self.metric.name] = self.metric.declared.sign * scores.chosen

    def for_choice(self, number: int) -> Context:
        """Return a context for a fit that only serves to choose something for this one.

        Args:
            number: Number of the fit, from 0 on, which gives it randomness and checkpoints of its own.
        """
        name = f"choice{number}"
        return replace(
            self,
            random_root=f"{self.random_root}/{name}",
            checkpoints=None if self.checkpoints is None else self.checkpoints.inside(name),
            candidates={},
            curves={},
            selected={},
            validation={},
            notes=[],
        )

    def autocast(self) -> torch.autocast:
        """Return the autocast context of a training step's forward pass, active under mixed precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def epochs(
        self,
        total: int,
        model: nn.Module,
        stateful: Mapping[str, Stateful] | None = None,
        *,
        early_stopping: EarlyStopping = NO_EARLY_STOPPING,
        name: str = "fit",
    ) -> Epochs:
        """Return the loop over the epochs of one training; see :class:`Epochs`.

        Args:
            total: Number of epochs.
            model: The module that is trained (not the one that :meth:`wrap` returned).
            stateful: What a checkpoint holds besides the model, by name: optimiser, ...
            early_stopping: When to stop before the last epoch.
            name: Name of the training, unique within the cell.
        """
        # Dropout and stochastic depth draw from the global generators, which must differ between processes.
        seed = self.seed(name) if self.group.is_first else self.seed(name, "rank", self.group.rank)
        return Epochs(
            EpochPlan(total, seed, self._segment_end(name, total), early_stopping),
            TrainingState(model, stateful or {}, self.curves),
            self.checkpoints.of(name) if self.checkpoints is not None else None,
            self.group,
            self.on_epoch if self.group.is_first else None,
        )

    def _segment_end(self, name: str, total: int) -> int | None:
        """Return the number of epochs after which a training ends in this segment; only ``fit`` is ever interrupted."""
        last = int(self.fixed["epoch"]) + 1 if "epoch" in self.fixed and name == "fit" else None
        if self.segment_end is None:
            return last
        until = epochs_until(self.segment_end, total) if name == "fit" else total
        return until if last is None else min(until, last)

    def add_candidate(self, step: int, model: Callable[[Tensor], Tensor]) -> None:
        """Offer a model to the protocol as a candidate for model selection.

        The protocol stores the model's outputs, and selects among the candidates when training is over; the method
        learns nothing of it. Protocols in which the method selects itself ignore candidates. A module is left in
        evaluation mode; nothing random is drawn.

        Args:
            step: Training steps taken before; unique within the cell.
            model: Maps raw inputs (B, ...) to logits (B, classes); the module itself, not its data-parallel form.
        """
        if self.on_candidate is not None and self.group.is_first:
            self.on_candidate(step, model)

    def frozen_features(self, split: Split) -> Tensor:
        """Return the given backbone's features (n, out_dim) of a split, computed once and shared by all cells.

        Raises:
            RuntimeError: This context has no features.
        """
        if self.features is None:
            raise RuntimeError("no frozen features in this context")
        return self.features.take(split.rows).to(self.device)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module to call in training: itself, or its data-parallel form if several processes train.

        Batch normalisation then uses the statistics of the global batch.
        """
        return data_parallel(module, self.device) if self.group.is_distributed else module

    def release_wrapped(self) -> None:
        """Make sure that data-parallel wrappers of earlier trainings, which the caller no longer holds, are destroyed.

        A wrapper that is still alive would take part in the backward pass of the next training.
        """
        if self.group.is_distributed:
            gc.collect()

    def shard(self, batch: Tensor) -> Tensor:
        """Return this process's shard of a global batch (B, ...); see :meth:`ProcessGroup.shard`."""
        return self.group.shard(batch)

    def global_mean(self, losses: Tensor, total: int) -> Tensor:
        """Return the loss to differentiate, whose average over all processes is the mean loss of the global batch.

        Args:
            losses: Losses of this process's examples (b,).
            total: Number of examples in the global batch.
        """
        return losses.sum() * (self.group.world_size / total)
