"""The one supervised training loop: every method that trains a classifier by gradient runs it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.core.config import BatchNorm, TrainingConfig
from tlbench.data.dataset import Split
from tlbench.training.batches import Batch, Batches, Examples, IndexedExamples
from tlbench.training.classifier import Classifier, train_mode
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.evaluation import evaluate
from tlbench.training.frozen_prefix import cache_prefix, frozen_depth, frozen_modules
from tlbench.training.parameter_groups import ParameterGroup, check_coverage, make_optimizer, scale_rates
from tlbench.training.schedules import rate_factor

Loss = Callable[[Tensor, Batch], Tensor]
"""Logits (b, classes) in single precision and their batch -> losses (b,)."""


def train_classifier(
    model: Classifier,
    groups: list[ParameterGroup],
    train: Split,
    val: Split | None,
    recipe: TrainingConfig,
    ctx: Context,
    *,
    batch_norm: BatchNorm = "train",
    loss: Loss | None = None,
    penalty: Callable[[], Tensor] | None = None,
    unfreeze: Callable[[int], None] | None = None,
    patient_from: int = 0,
    from_start: bool = False,
    name: str = "fit",
) -> None:
    """Train a classifier in place; leave it with the weights that were best on validation.

    Rates follow the recipe's schedule by step, not by epoch. Without validation the last epoch's weights stay. Layer
    groups that are frozen from the stem up run in evaluation mode and, where the inputs are fixed, only once: see
    :mod:`tlbench.training.frozen_prefix`. Fills the curves ``train_loss``, ``val_accuracy`` and ``val_nll``, and the
    context's ``selected`` and ``validation``.

    Args:
        model: Maps raw inputs (B, ...) to logits (B, classes).
        groups: Parameter groups with ``lr`` and ``weight_decay``; an exact cover of what is trained.
        train: Labelled examples to train on.
        val: Labelled examples to select by, or None.
        recipe: How to train.
        ctx: Device, randomness, epochs and processes.
        batch_norm: Whether running statistics move or stay.
        loss: What to minimise, from the raw inputs; None is cross-entropy with the recipe's label smoothing.
        penalty: Added to the mean loss of every step.
        unfreeze: Sets ``requires_grad`` of the model's parameters at the start of an epoch, as a function of the
            epoch alone; ``groups`` then cover all that is trained in the end, and are made before the first call.
        patient_from: The epoch from which on the recipe's patience is counted; before it nothing stops early.
        from_start: Whether the weights given compete too; they count as epoch -1.
        name: Tells the trainings of one cell apart.
    """
    check_coverage(model, groups)
    model.to(ctx.device)
    if ctx.device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(recipe.optimizer, groups)
    stages = _Stages(model, train, val, recipe, ctx, loss is not None, name)
    epochs = ctx.epochs(
        recipe.epochs, model, patience=recipe.patience, patient_from=patient_from, name=name, optimizer=optimizer
    )
    if from_start and val is not None:
        epochs.score_start(*evaluate(model, Examples(val, ctx.device), ctx).order)
    for epoch in epochs:
        if unfreeze is not None:
            unfreeze(epoch)
        stage = stages.current()
        train_mode(stage.module, batch_norm)
        for module in stage.frozen:
            module.eval()
        ctx.log(epoch, train_loss=_train_epoch(stage, optimizer, epoch, recipe, ctx, loss, penalty) / len(train))
        if stage.held_out is not None:
            scores = evaluate(stage.module, stage.held_out, ctx)
            ctx.log(epoch, val_accuracy=scores.accuracy, val_nll=scores.nll)
            epochs.score(*scores.order)
        del stage  # so that the next one can be made without it
    epochs.restore_best()
    if epochs.best_epoch is not None and epochs.best_score is not None:
        ctx.selected["epoch"] = epochs.best_epoch
        ctx.validation.update(accuracy=epochs.best_score[0], nll=-epochs.best_score[1])


def _train_epoch(
    stage: _Stage,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    recipe: TrainingConfig,
    ctx: Context,
    loss: Loss | None,
    penalty: Callable[[], Tensor] | None,
) -> float:
    """Train one epoch and return the sum of the losses of all its examples."""
    seen = torch.zeros((), device=ctx.device)
    steps = recipe.epochs * stage.batches.count
    for step, batch in enumerate(stage.batches.epoch(epoch), start=epoch * stage.batches.count):
        scale_rates(optimizer, rate_factor(recipe.schedule, step, steps, recipe.warmup))
        optimizer.zero_grad(set_to_none=True)
        *before, last = stage.batches.pieces(batch)
        for piece in (*before, last):
            with ctx.autocast():
                logits = stage.wrapped(piece.x)
            logits = logits if logits.dtype == torch.float64 else logits.float()
            losses = smoothed_cross_entropy(logits, piece.y, recipe.smoothing) if loss is None else loss(logits, piece)
            mean = ctx.mean(losses, piece.size)
            (mean + penalty() if piece is last and penalty is not None else mean).backward()
            seen += losses.detach().sum()
        optimizer.step()
    return all_reduce_sum(seen, ctx).item()


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy (b,) of logits (b, classes) with labels (b,), smoothed towards uniform."""
    return cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


@dataclass(frozen=True)
class _Stage:
    """What is run while the same parameters are trained.

    Attributes:
        module: The classifier, or its part above the frozen layer groups.
        wrapped: The form of it to call in training.
        frozen: Submodules that run in evaluation mode.
        batches: What to train on, made for ``module``.
        held_out: What to select by, likewise.
    """

    module: nn.Module
    wrapped: nn.Module
    frozen: list[nn.Module]
    batches: Batches
    held_out: IndexedExamples | None


class _Stages:
    """Makes the stage anew whenever other parameters are trained than before."""

    def __init__(
        self,
        model: Classifier,
        train: Split,
        val: Split | None,
        recipe: TrainingConfig,
        ctx: Context,
        raw: bool,
        name: str,
    ) -> None:
        self._model = model
        self._splits = [Examples(split, ctx.device) for split in (train, val) if split is not None]
        self._recipe = recipe
        self._ctx = ctx
        self._name = name
        self._keeps = not raw and (recipe.augment == "none" or len(self._splits[0].shape) != 3)
        self._trained: list[bool] | None = None
        self._stage: _Stage | None = None

    def current(self) -> _Stage:
        """Return the stage for the parameters that are trained now."""
        trained = [parameter.requires_grad for parameter in self._model.parameters()]
        if self._stage is None or trained != self._trained:
            if self._stage is not None:
                self._stage = None  # its kept outputs and the next one's need not be there together
                if self._ctx.world > 1:
                    gc.collect()  # no data-parallel wrapper of the last stage may still watch the parameters
            self._trained, self._stage = trained, self._make()
        return self._stage

    def _make(self) -> _Stage:
        splits: list[IndexedExamples] = list(self._splits)
        module: nn.Module = self._model
        frozen: list[nn.Module] = []
        augment = self._recipe.augment
        kept = cache_prefix(self._model, self._splits) if self._keeps else None
        if kept is not None:
            module, splits, augment = kept[0], list(kept[1]), "none"  # what is kept may look like an image
        else:
            backbone = self._model.backbone
            frozen = list(frozen_modules(backbone, frozen_depth(backbone)).values())
        batches = Batches(splits[0], self._recipe.batch_size, augment, self._ctx, self._name)
        return _Stage(module, self._ctx.wrap(module), frozen, batches, splits[1] if len(splits) > 1 else None)
