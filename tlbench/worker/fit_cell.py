"""Fits a cell's method under its protocol: what running a cell and training a teacher have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.image_recipe import crop_fraction
from tlbench.core.cell import Cell, task_info
from tlbench.core.image_kind import shows_characters
from tlbench.core.record import Outcome
from tlbench.core.segments import WHOLE
from tlbench.data.dataset import Dataset, Task
from tlbench.data.folds import Fold
from tlbench.plugins import registry
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.frozen_features import FrozenFeatures
from tlbench.training.metric import chosen_metric
from tlbench.training.outcomes import pool_folds
from tlbench.training.seeding import reseed
from tlbench.worker.cost_meter import CostMeter
from tlbench.worker.episodes import episodes_of
from tlbench.worker.paired_tokens import join_tokens
from tlbench.worker.pretrain import pretraining_notes
from tlbench.worker.segment_states import remaining_segments, store_state
from tlbench.worker.training_observer import TrainingObserver
from tlbench.worker.worker_resources import WorkerResources


@dataclass(frozen=True)
class FitResult:
    """A cell that was fitted and scored.

    Attributes:
        outcome: What the protocol found; None in every process of a group but the first.
        fitted: What the method's ``fit`` returned.
    """

    outcome: Outcome | None
    fitted: object


@dataclass(frozen=True)
class FitHooks:
    """How somebody follows the fits of a cell, or takes the place of its protocol.

    Attributes:
        context: Makes the context of the fit; None is :class:`Context` itself.
        on_fit: Called after each fit with its task, its context and what it returned.
        run: Takes the place of the protocol's ``run``; None is the protocol's own.
    """

    context: Callable[..., Context] | None = None
    on_fit: Callable[[Task, Context, object], None] | None = None
    run: Callable[..., Outcome | None] | None = None


NO_HOOKS = FitHooks()


@dataclass(frozen=True)
class _Inputs:
    """What a method is fitted on.

    Attributes:
        dataset: The dataset as the method reads it.
        features: Its frozen features, as the backbone alone reads it; they count what this cell reads.
        backbone: The backbone; the shared instance where the method leaves it as it is.
        teacher: The teacher, if the method has one.
    """

    dataset: Dataset
    features: FrozenFeatures
    backbone: Backbone
    teacher: nn.Module | None


def fit_cell(
    cell: Cell,
    resources: WorkerResources,
    scratch: Path,
    meter: CostMeter | None = None,
    observer: TrainingObserver | None = None,
    hooks: FitHooks = NO_HOOKS,
) -> FitResult:
    """Fit and score a cell; in a group, every process calls this.

    A cell whose training has segments is fitted segment by segment, each time from the start of the method's ``fit``,
    which continues from the checkpoint that the segment before left; the last fit counts. A trial that is validated in
    folds is fitted once for each of them, one after another, each time from the start.

    Args:
        cell: The cell.
        resources: This process, and what it keeps.
        scratch: Folder of checkpoints; the first process creates it where the method trains a backbone.
        meter: Measures what it takes.
        observer: Follows the fits.
        hooks: For a cell that is no trial.
    """
    count = 1 if cell.trial is None else cell.trial.folds
    if count == 1:
        return _fit(cell, resources, scratch, meter, observer, hooks=hooks)
    outcomes: list[Outcome] = []
    for number in range(count):
        one = _fit(cell, resources, scratch / f"fold{number}", meter, observer, Fold(number, count))
        assert one.outcome is not None, "a trial is trained in one process"
        outcomes.append(one.outcome)
        if observer is not None:
            observer.on_fold(number + 1, count, pool_folds(outcomes))
    return FitResult(pool_folds(outcomes), one.fitted)


def _fit(
    cell: Cell,
    resources: WorkerResources,
    scratch: Path,
    meter: CostMeter | None,
    observer: TrainingObserver | None,
    fold: Fold | None = None,
    hooks: FitHooks = NO_HOOKS,
) -> FitResult:
    """Fit and score a cell once, on the part of its labels that is held out or on a fold of them."""
    declared = registry.declaration("methods", cell.method.name)
    method = declared.load()
    protocol = registry.declaration("protocols", cell.protocol.name).load()
    frozen = declared.constants.FROZEN_BACKBONE
    inputs = _inputs(cell, resources, frozen)
    if fold is not None and meter is not None and meter.features is not None:
        inputs = replace(inputs, features=meter.features)  # an example that several folds read is embedded once
    elif meter is not None:
        meter.features = inputs.features
    saves = resources.group.is_first and (not frozen or bool(cell.segments))
    if saves:
        scratch.mkdir(parents=True, exist_ok=True)
    *earlier, (last, params) = remaining_segments(cell, resources.artifacts, scratch)
    checkpoints, segment_end = _checkpoints(scratch, meter) if saves else None, None if last == WHOLE else last
    ctx = _context(cell, resources, inputs, fold, checkpoints, segment_end, hooks.context or Context)
    if observer is not None:
        ctx.on_epoch = partial(observer.on_epoch, ctx)
    results: list[object] = []

    def fit(task: Task, choosing: Context | None = None) -> object:
        own = choosing or ctx
        with nullcontext() if meter is None else meter.training():
            for until, values in earlier:
                segment = replace(own, segment_end=until, curves={}, selected={}, validation={}, notes=[])
                reseed(own.seed("global"))
                method.fit(task, copy.deepcopy(inputs.backbone), method.Config(**values), segment)
            reseed(own.seed("global"))
            backbone = inputs.backbone if choosing is None or frozen else copy.deepcopy(inputs.backbone)
            fitted = method.fit(task, backbone, method.Config(**params), own)
        if hooks.on_fit is not None:
            hooks.on_fit(task, own, fitted)
        if choosing is None:
            results.append(fitted)
        return fitted

    task = task_info(cell.protocol, cell.dataset.info, cell.shots)
    outcome: Outcome | None = (hooks.run or protocol.run)(task, inputs.dataset, cell.seed, fit, ctx)
    if outcome is not None:
        notes = (*pretraining_notes(cell.backbone, resources.artifacts), *inputs.dataset.notes, *outcome.notes)
        outcome = outcome.model_copy(update={"notes": notes})
    if last != WHOLE:
        store_state(cell, resources.artifacts, scratch)
    return FitResult(outcome, results[0])


def _context(
    cell: Cell,
    resources: WorkerResources,
    inputs: _Inputs,
    fold: Fold | None,
    checkpoints: Checkpoints | None,
    segment_end: int | None,
    make: Callable[..., Context],
) -> Context:
    """Return the context of one fit."""
    return make(
        random_root=cell.random_root if fold is None else f"{cell.random_root}/{fold.number}",
        device=resources.device,
        features=inputs.features,
        teacher=inputs.teacher,
        metric=chosen_metric(cell.protocol.options),
        precision=resources.precision,
        group=resources.group,
        checkpoints=checkpoints,
        segment_end=segment_end,
        characters=shows_characters(cell.dataset.info),
        crop_fraction=crop_fraction(inputs.backbone.info),
        oracle=registry.declaration("methods", cell.method.name).constants.ORACLE,
        validation_only=cell.trial is not None,
        validation_root="" if cell.trial is None else cell.trial.setting,
        fold=fold,
        episodes=episodes_of(cell, resources.artifacts),
    )


def _checkpoints(scratch: Path, meter: CostMeter | None) -> Checkpoints:
    return Checkpoints(scratch) if meter is None else Checkpoints(scratch, on_save=meter.keep)


def _inputs(cell: Cell, resources: WorkerResources, frozen: bool) -> _Inputs:
    dataset = resources.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
    features = resources.features(cell.backbone, cell.seed, dataset).for_cell()
    backbone = (resources.backbone if frozen else resources.own_backbone)(cell.backbone, cell.seed)
    if cell.method.teacher is None:
        return _Inputs(dataset, features, backbone, None)
    teacher_data, teacher = resources.read_by_teacher(cell), resources.own_teacher(cell)
    dataset, backbone, teacher = join_tokens(dataset, teacher_data, backbone, teacher)
    return _Inputs(dataset, features, backbone, teacher)
