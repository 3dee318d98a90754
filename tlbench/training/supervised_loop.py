"""The supervised training loop: every method that trains a classifier by gradient descent runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.core.config import BatchNorm, TrainingConfig
from tlbench.core.errors import UserError
from tlbench.data.dataset import Split
from tlbench.training.augmentation.policy import UNCHANGED
from tlbench.training.batches import Batch, Batches, Examples, IndexedExamples, class_weights
from tlbench.training.classifier import Classifier, train_mode
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.epoch_loop import EarlyStopping, Epochs
from tlbench.training.evaluation import evaluate
from tlbench.training.frozen_prefix import PrefixOutputs, cache_prefix, frozen_depth, frozen_modules
from tlbench.training.parameter_groups import ParameterGroup, check_coverage, make_optimizer, scale_rates
from tlbench.training.precision import at_least_float32
from tlbench.training.recipe import usual_augmentation, usual_epochs
from tlbench.training.schedules import rate_factor
from tlbench.training.validation_scores import ValidationScores

Loss = Callable[[Tensor, Batch], Tensor]
"""Logits (b, classes) in float32 or float64 and their batch -> losses (b,)."""


@dataclass(frozen=True)
class LoopOptions:
    """What a method may change about the supervised loop.

    Attributes:
        batch_norm: Whether running statistics of batch normalisation are updated.
        loss: The loss to minimise, which may read the raw inputs; None is cross-entropy with the recipe's label
            smoothing.
        penalty: A term that is added to the mean loss of every step.
        begin_epoch: Called with the epoch at its start; what it changes is a function of the epoch alone. Where it sets
            ``requires_grad`` of the model's parameters, the parameter groups cover all that are ever trained, and are
            made before the first call.
        patience_start: First epoch that counts for the recipe's patience.
        score_initial: Whether the initial weights take part in selection on validation, as epoch -1.
        features: Returns the features (n, out_dim) of a split, where what is trained is a head on a frozen backbone.
        name: Name of the training, unique within the cell.
    """

    batch_norm: BatchNorm = "train"
    loss: Loss | None = None
    penalty: Callable[[], Tensor] | None = None
    begin_epoch: Callable[[int], None] | None = None
    patience_start: int = 0
    score_initial: bool = False
    features: Callable[[Split], Tensor] | None = None
    name: str = "fit"


DEFAULT_OPTIONS = LoopOptions()


def train_classifier(
    model: nn.Module,
    groups: list[ParameterGroup],
    train: Split,
    val: Split | None,
    recipe: TrainingConfig,
    ctx: Context,
    options: LoopOptions = DEFAULT_OPTIONS,
) -> None:
    """Train a classifier in place; afterwards it has the weights that were best on validation.

    Learning rates follow the recipe's schedule by step, not by epoch. Without validation the last epoch's weights stay,
    or those of the epoch that the context fixes.
    Layer groups that are frozen from the stem upwards run in evaluation mode and, where the inputs are the same in
    every epoch, only once: see :mod:`tlbench.training.frozen_prefix`. Fills the curves ``train_loss``,
    ``val_accuracy`` and ``val_nll`` (of the examples that the context follows, where it names some), and the context's
    ``selected``, ``validation`` and ``candidates``.

    Args:
        model: A :class:`Classifier` of raw inputs; with the option ``features``, a head (B, out_dim) -> (B, classes).
        groups: Parameter groups with ``lr`` and ``weight_decay``; they cover each trained parameter once.
        train: Labelled examples to train on.
        val: Labelled examples to select by, or None.
        recipe: Epochs, batch size, optimiser, schedule and regularisation.
        ctx: Device, randomness, epochs and processes.
        options: Changes to the loop.

    Raises:
        UserError: The recipe weighs classes, but the loss is not cross-entropy.
    """
    if recipe.balance == "weights" and options.loss is not None:
        raise UserError("balance: weights has no meaning for a loss other than cross-entropy", "balance: sampling has")
    check_coverage(model, groups)
    model.to(ctx.device)
    optimizer = make_optimizer(recipe.optimizer, groups)
    stages = _Stages(model, train, val if ctx.followed is None else ctx.followed, recipe, ctx, options)
    total = usual_epochs(recipe.epochs, len(train), recipe.batch_size)
    stopping = EarlyStopping(recipe.patience, options.patience_start)
    epochs = ctx.epochs(total, model, {"optimizer": optimizer}, early_stopping=stopping, name=options.name)
    before: ValidationScores | None = None
    if options.score_initial and val is not None:
        before = evaluate(model, Examples(val, ctx.device), ctx)
        epochs.score_initial(*before.order)
    for epoch in epochs:
        if options.begin_epoch is not None:
            options.begin_epoch(epoch)
        stage = stages.current()
        train_mode(stage.module, options.batch_norm)
        for module in stage.frozen:
            module.eval()
        ctx.log(epoch, train_loss=_train_epoch(stage, optimizer, epoch, total, recipe, ctx, options) / len(train))
        if stage.val is not None:
            scores = evaluate(stage.module, stage.val, ctx)
            _log(epoch, scores, ctx)
            if val is not None:
                epochs.score(*scores.order)
        del stage  # or its cached outputs would still be in memory when those of the next stage are computed
    epochs.restore_best()
    _report_choice(epochs, before, ctx)


def _log(epoch: int, scores: ValidationScores, ctx: Context) -> None:
    """Log the scores on validation after an epoch."""
    ctx.log(epoch, val_accuracy=scores.accuracy, val_nll=scores.nll)
    if ctx.metric is not None and scores.chosen is not None:
        ctx.log(epoch, **{f"val_{ctx.metric.name}": ctx.metric.declared.sign * scores.chosen})


def _report_choice(epochs: Epochs, before: ValidationScores | None, ctx: Context) -> None:
    """Tell the context which epoch was chosen and by what scores; ``before`` are those of the initial weights."""
    if epochs.best_epoch is not None and epochs.best_score is not None:
        ctx.selected["epoch"] = epochs.best_epoch
        candidates = ({-1: before} if before is not None else {}) | _scores_by_epoch(ctx)
        value, likelihood = epochs.best_score
        ctx.report_validation(candidates.get(epochs.best_epoch, ValidationScores(value, -likelihood)))
        ctx.choose("epoch", candidates)
    elif "epoch" in ctx.fixed:
        ctx.selected["epoch"] = ctx.fixed["epoch"]


def _scores_by_epoch(ctx: Context) -> dict[int, ValidationScores]:
    """Return the validation scores after each epoch, those before a resumed training was killed included."""
    nll = dict(ctx.curves.get("val_nll", []))
    chosen: dict[int, float] = {}
    if ctx.metric is not None:
        sign = ctx.metric.declared.sign
        chosen = {epoch: sign * value for epoch, value in ctx.curves.get(f"val_{ctx.metric.name}", [])}
    accuracy = ctx.curves.get("val_accuracy", [])
    return {epoch: ValidationScores(a, nll[epoch], chosen.get(epoch)) for epoch, a in accuracy if epoch in nll}


def _train_epoch(
    stage: _Stage,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    total: int,
    recipe: TrainingConfig,
    ctx: Context,
    options: LoopOptions,
) -> float:
    """Train one epoch of a total and return the sum of the losses of all its examples."""
    loss_sum = torch.zeros((), device=ctx.device)
    steps = total * stage.batches.count
    for step, batch in enumerate(stage.batches.epoch(epoch), start=epoch * stage.batches.count):
        scale_rates(optimizer, rate_factor(recipe.schedule, step, steps, recipe.warmup))
        optimizer.zero_grad(set_to_none=True)
        *before, last = stage.batches.micro_batches(batch)
        for part in (*before, last):
            with ctx.autocast():
                logits = stage.wrapped(part.x)
            logits = at_least_float32(logits)
            losses = (
                label_losses(logits, part, recipe.smoothing, stage.weights)
                if options.loss is None
                else options.loss(logits, part)
            )
            mean = ctx.global_mean(losses, part.size)
            (mean + options.penalty() if part is last and options.penalty is not None else mean).backward()
            loss_sum += losses.detach().sum()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(stage.parameters, recipe.clip_norm)
        optimizer.step()
    return all_reduce_sum(loss_sum, ctx.group).item()


def label_losses(logits: Tensor, batch: Batch, smoothing: float, weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy (b,) of a batch with label smoothing; of mixed inputs, with the mixed labels.

    Args:
        logits: Logits (b, classes).
        batch: Its labels.
        smoothing: Of the labels.
        weights: Weight of each class (classes,) in the loss; None weighs all the same.
    """
    losses = _weighted(smoothed_cross_entropy(logits, batch.y, smoothing), batch.y, weights)
    if batch.mixed is None:
        return losses
    others = smoothed_cross_entropy(logits, batch.mixed.y, smoothing)
    return batch.mixed.mean(losses, _weighted(others, batch.mixed.y, weights))


def _weighted(losses: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return losses if weights is None else losses * weights[labels]


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy (b,) of logits (b, classes) and labels (b,) with label smoothing."""
    return cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


@dataclass(frozen=True)
class _Stage:
    """The modules and batches of a stage of training, during which the set of trained parameters stays the same.

    Attributes:
        module: The classifier, or its part above the frozen layer groups.
        wrapped: The form of it to call in training (:meth:`Context.wrap`).
        parameters: Those of the module that are trained.
        frozen: Submodules that run in evaluation mode.
        batches: What to train on: inputs of ``module``.
        val: What to select by, likewise.
        weights: Weight of each class in the loss (classes,); None weighs all the same.
    """

    module: nn.Module
    wrapped: nn.Module
    parameters: list[nn.Parameter]
    frozen: list[nn.Module]
    batches: Batches
    val: IndexedExamples | None
    weights: Tensor | None = None


def _examples(split: Split, options: LoopOptions, ctx: Context) -> IndexedExamples:
    if options.features is None:
        return Examples(split, ctx.device)
    return PrefixOutputs(options.features(split), torch.from_numpy(split.labels).to(ctx.device))


class _Stages:
    """Builds a new stage whenever the set of trained parameters has changed."""

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        val: Split | None,
        recipe: TrainingConfig,
        ctx: Context,
        options: LoopOptions,
    ) -> None:
        self._model = model
        self._splits = [_examples(split, options, ctx) for split in (train, val) if split is not None]
        self._recipe = recipe
        self._ctx = ctx
        self._name = options.name
        self._augmentation = UNCHANGED
        if options.features is None:
            self._augmentation = usual_augmentation(recipe, [train], ctx)
        # A given loss may read the raw inputs. What is cached may have the shape of images, but none then changes.
        self._cacheable = options.loss is None and not self._augmentation.changes_images
        self._trained: list[bool] | None = None
        self._stage: _Stage | None = None

    def current(self) -> _Stage:
        """Return the stage for the parameters that are trained now."""
        trained = [parameter.requires_grad for parameter in self._model.parameters()]
        if self._stage is None or trained != self._trained:
            if self._stage is not None:
                self._stage = None  # frees its cached outputs before those of the next stage are computed
                self._ctx.release_wrapped()
            self._trained, self._stage = trained, self._build()
        return self._stage

    def _build(self) -> _Stage:
        splits: list[IndexedExamples] = list(self._splits)
        module: nn.Module = self._model
        frozen: list[nn.Module] = []
        whole = self._model if isinstance(self._model, Classifier) else None  # else a head on features
        cached = cache_prefix(whole, self._splits) if self._cacheable and whole is not None else None
        if cached is not None:
            module, splits = cached[0], list(cached[1])
        elif whole is not None:
            backbone = whole.backbone
            frozen = list(frozen_modules(backbone, frozen_depth(backbone)).values())
        balance = self._recipe.balance
        size = self._recipe.batch_size
        batches = Batches(splits[0], size, self._augmentation, self._ctx, self._name, balanced=balance == "sampling")
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        val = splits[1] if len(splits) > 1 else None
        weights = class_weights(splits[0].y) if balance == "weights" else None
        return _Stage(module, self._ctx.wrap(module), parameters, frozen, batches, val, weights)
