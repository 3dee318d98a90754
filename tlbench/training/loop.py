"""The one supervised training loop: fine-tuning, training from scratch and supervised pre-training all run it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tlbench.data.dataset import Split
from tlbench.training.augment import Augment
from tlbench.training.batches import Batches, Examples
from tlbench.training.classifier import BatchNormPolicy, train_mode
from tlbench.training.collect import total
from tlbench.training.context import Context
from tlbench.training.evaluate import evaluate
from tlbench.training.groups import Group, OptimizerName, check_cover, make_optimizer, set_rate
from tlbench.training.schedules import warmup_cosine


class Recipe(Protocol):
    """What the loop reads of a method's ``Config``; a config conforms by having these fields.

    Attributes:
        epochs: Passes over the training examples.
        batch_size: Largest global batch.
        optimizer: ``adamw``, or ``sgd`` with momentum 0.9.
        warmup: Share of the steps over which the rate rises.
        smoothing: Label smoothing.
        augment: How training images are moved.
    """

    @property
    def epochs(self) -> int: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def optimizer(self) -> OptimizerName: ...  # noqa: D102
    @property
    def warmup(self) -> float: ...  # noqa: D102
    @property
    def smoothing(self) -> float: ...  # noqa: D102
    @property
    def augment(self) -> Augment: ...  # noqa: D102


def train_classifier(
    model: nn.Module,
    groups: list[Group],
    train: Split,
    val: Split | None,
    recipe: Recipe,
    ctx: Context,
    *,
    batch_norm: BatchNormPolicy = "train",
    patience: int | None = None,
    name: str = "fit",
) -> None:
    """Train a classifier in place by cross-entropy; leave it with the weights that were best on validation.

    The rate follows warm-up and cosine by step, not by epoch. Without validation the last epoch's weights stay.
    Fills the curves ``train_loss``, ``val_accuracy`` and ``val_nll``, and the context's ``selected`` and
    ``validation``.

    Args:
        model: Maps raw inputs (B, ...) to logits (B, classes).
        groups: Parameter groups with ``lr`` and ``weight_decay``; an exact cover of what is trained.
        train: Labelled examples to train on.
        val: Labelled examples to select by, or None.
        recipe: How to train.
        ctx: Device, randomness, epochs and processes.
        batch_norm: Whether running statistics move or stay.
        patience: Epochs without improvement before stopping early; None trains them all.
        name: Tells the trainings of one cell apart.
    """
    check_cover(model, groups)
    model.to(ctx.device)
    optimizer = make_optimizer(recipe.optimizer, groups)
    batches = Batches(Examples(train, ctx.device), recipe.batch_size, recipe.augment, ctx, name)
    held_out = Examples(val, ctx.device) if val is not None else None
    epochs = ctx.epochs(recipe.epochs, model, patience=patience, name=name, optimizer=optimizer)
    wrapped = ctx.wrap(model)
    for epoch in epochs:
        train_mode(wrapped, batch_norm)
        ctx.log(epoch, train_loss=_train_epoch(wrapped, optimizer, batches, epoch, recipe, ctx) / len(train))
        if held_out is not None:
            scores = evaluate(model, held_out, ctx)
            ctx.log(epoch, val_accuracy=scores.accuracy, val_nll=scores.nll)
            epochs.score(*scores.order)
    epochs.restore_best()
    if epochs.best_epoch is not None and epochs.best_score is not None:
        ctx.selected["epoch"] = epochs.best_epoch
        ctx.validation.update(accuracy=epochs.best_score[0], nll=-epochs.best_score[1])


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    epoch: int,
    recipe: Recipe,
    ctx: Context,
) -> float:
    """Train one epoch and return the sum of the losses of all its examples."""
    loss = torch.zeros((), device=ctx.device)
    for step, (x, y, size) in enumerate(batches.epoch(epoch), start=epoch * batches.count):
        set_rate(optimizer, warmup_cosine(step, recipe.epochs * batches.count, recipe.warmup))
        losses = cross_entropy(model(x), y, reduction="none", label_smoothing=recipe.smoothing)
        optimizer.zero_grad(set_to_none=True)
        ctx.mean(losses, size).backward()
        optimizer.step()
        loss += losses.detach().sum()
    return total(loss, ctx).item()
