"""What a method is handed besides its task and backbone: device, randomness, the epoch loop, data-parallel pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from tlbench.core.config import Precision
from tlbench.core.hashing import derive_seed
from tlbench.core.segments import epochs_until
from tlbench.data.dataset import Split
from tlbench.training.data_parallel import data_parallel
from tlbench.training.epoch_loop import Epochs, Stateful
from tlbench.training.frozen_features import FrozenFeatures


@dataclass
class Context:
    """One cell's surroundings, alike in a test, in a slot, and in each process of a data-parallel run.

    Attributes:
        cell: The root of all the cell's randomness: its id, as a rule.
        device: Where to train.
        features: Frozen features of the task's dataset under the given backbone; None where there are none.
        teacher: The trained teacher: maps raw inputs (B, ...) to logits (B, classes); on the device, in evaluation
            mode, without gradients. None where the method names none.
        precision: What matrix products and convolutions of training steps are computed in. Losses, distances,
            optimiser and evaluation are in single precision either way.
        rank: This process among ``world``.
        world: Number of processes that train together.
        folder: Where checkpoints are kept; None keeps none.
        interval: Seconds of work between two checkpoints.
        until: The mark (:mod:`tlbench.core.segments`) at which the training named ``fit`` is cut, to go on in another
            leg; None trains to the end.
        on_epoch: Told (epochs done, epochs in all).
        on_proposal: Told (step, model) of every model that may be selected; the protocol's.
        oracle: Whether the method is one that sees the target's training labels; its results are never ranked.
        sealed: Whether the protocol leaves the test alone and tells only of validation, as in a search.
        curves: Values logged by step, by name.
        selected: What the method chose on validation; filled by the method.
        validation: The validation scores it chose by; filled by the method.
        notes: Warnings for the record.
    """

    cell: str
    device: torch.device
    features: FrozenFeatures | None = None
    teacher: nn.Module | None = None
    precision: Precision = "float32"
    rank: int = 0
    world: int = 1
    folder: Path | None = None
    interval: float = 5.0
    until: int | None = None
    on_epoch: Callable[[int, int], None] | None = None
    on_proposal: Callable[[int, Callable[[Tensor], Tensor]], None] | None = None
    oracle: bool = False
    sealed: bool = False
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    selected: dict[str, float | int | str] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def seed(self, *purpose: str | int) -> int:
        """Return a seed for one purpose."""
        return derive_seed(self.cell, *purpose)

    def generator(self, *purpose: str | int) -> torch.Generator:
        """Return a CPU generator for one purpose; the same in every process of a data-parallel run."""
        return torch.Generator().manual_seed(self.seed(*purpose))

    def log(self, step: int, **values: float) -> None:
        """Append values to the curves of those names; one that is not finite leaves a gap."""
        for name, value in values.items():
            if math.isfinite(value):
                self.curves.setdefault(name, []).append((step, float(value)))

    def autocast(self) -> torch.autocast:
        """Return the context of a training step's forward pass: mixed precision where :attr:`precision` says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def epochs(
        self,
        total: int,
        model: nn.Module,
        *,
        patience: int | None = None,
        patient_from: int = 0,
        name: str = "fit",
        **others: Stateful,
    ) -> Epochs:
        """Return the loop over epochs of one training; see :class:`Epochs`.

        Args:
            total: Number of epochs.
            model: The module trained (not the one :meth:`wrap` returned).
            patience: Epochs without improvement before stopping; None never stops early.
            patient_from: The epoch from which on they are counted.
            name: Tells the trainings of one cell apart.
            **others: Optimiser, schedule, ...
        """
        return Epochs(
            total,
            model,
            others,
            curves=self.curves,
            # Processes draw masks (dropout, stochastic depth) of their own; everything shared has generators.
            seed=self.seed(name) if self.rank == 0 else self.seed(name, "rank", self.rank),
            file=self.folder / f"{name}.ckpt" if self.folder is not None else None,
            patience=patience,
            patient_from=patient_from,
            interval=self.interval,
            writes=self.rank == 0,
            shared=self.world > 1,
            until=self._until(name, total),
            on_epoch=self.on_epoch if self.rank == 0 else None,
        )

    def _until(self, name: str, total: int) -> int | None:
        """Return with how many epochs a training ends in this leg; another one than ``fit`` is whole in the first."""
        if self.until is None:
            return None
        return epochs_until(self.until, total) if name == "fit" else total

    def propose(self, step: int, model: Callable[[Tensor], Tensor]) -> None:
        """Let the protocol note what a model answers at this step, so that it can select one when all are known.

        The method learns nothing of it. Protocols in which the method selects itself take no notice. A module is left
        in evaluation mode; nothing random is drawn.

        Args:
            step: Steps taken before; names the proposal within the cell.
            model: Maps raw inputs (B, ...) to logits (B, classes); the module itself, not its data-parallel form.
        """
        if self.on_proposal is not None and self.rank == 0:
            self.on_proposal(step, model)

    def frozen_features(self, split: Split) -> Tensor:
        """Return the given backbone's features (n, out_dim) of a split, computed once and shared by all cells.

        Raises:
            RuntimeError: This context has no features.
        """
        if self.features is None:
            raise RuntimeError("no frozen features in this context")
        return self.features.take(split.rows).to(self.device)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module to call in training: itself, or its data-parallel form over ``world`` processes.

        Batch normalisation then uses the statistics of the global batch.
        """
        return data_parallel(module, self.device) if self.world > 1 else module

    def shard(self, batch: Tensor) -> Tensor:
        """Return this process's part of a global batch (B, ...), a contiguous piece; pieces differ by at most one."""
        return batch.tensor_split(self.world)[self.rank]

    def mean(self, losses: Tensor, total: int) -> Tensor:
        """Return the loss to differentiate: over all processes its average is the mean of the global batch.

        Args:
            losses: Losses of this process's examples (b,).
            total: Number of examples in the global batch.
        """
        return losses.sum() * (self.world / total)
