"""Classification: fit on a few labels per class, choose within that label budget, score once on the test split.

The rest of the training images are given without labels, so that methods which use them compete on the same label
budget. The sample of labelled examples depends only on dataset, shots and seed: it is the same for every method.

``validation`` says what the labels that choose something are:

* ``auto``: all labels are to fit on. Choices that need no further training of the network, as C of a probe, are made by
  folds of the labelled examples; a network is trained to its last epoch. Where all examples are labelled and the source
  ships a validation part, that part chooses, the epoch included.
* ``held_out``: a fifth of the shots (a tenth of ``full``), or the source's own part, chooses everything.
* ``k_fold``: everything is chosen by the mean over folds, for each of which the method is fitted once.
* ``none``: nothing is chosen; what a method would choose has its default.
* ``{extra: n}``: n labels of each class beside the shots choose everything.

With ``refit`` the method is fitted once more to all labels of the budget, with what was chosen.

A trial of a search has the sample of the cells of its seed. Where the part that is held out of it is small, a trial is
fitted once for each fold of the sample, and validated on the fold that it was not fitted to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor

from tlbench.core.config import Settings, without
from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.core.label_budget import (
    MOST_FOLDS,
    ExtraLabels,
    Validation,
    extra_labels,
    folds_of_choices,
    gives_what_it_has,
)
from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, Task, take
from tlbench.data.folds import Fold, assign_folds
from tlbench.data.sampling import draw_shots
from tlbench.data.validation_groups import classes_mixed
from tlbench.protocols._choosing import Fit, choose_by_fits
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.outcomes import scored_outcome, validation_outcome
from tlbench.training.predictor import FeaturePredictor, Predictor

VERSION = 2  # 1 held a fifth of the labels out and never gave it back
FOLDS = True


class Options(Settings):
    """Options of classification."""

    validation: Validation = Field("auto", description="what the labels that choose something are")
    refit: bool | None = Field(
        None, description="whether the method is fitted again to all labels, with what was chosen; null: unless extra"
    )
    scarce: Literal["refuse", "all"] = Field(
        "refuse", description="of a class with fewer examples than shots; all: it gives all that it has"
    )
    metric: str = Field("accuracy", description="what decides on validation, and what is scored, ranked and compared")

    @model_validator(mode="after")
    def _refit_fits(self) -> Options:
        if self.refit is False and self.validation in ("auto", "k_fold"):
            raise ValueError(f"refit: false leaves nothing fitted with validation: {self.validation}; say held_out")
        if self.refit and self.validation == "none":
            raise ValueError("refit: true has nothing to fit again with validation: none")
        return self

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(without(handler(self), "metric", "accuracy"), "scarce", "refuse")

    @property
    def refits(self) -> bool:
        """Whether the method is fitted to all labels once more."""
        return not isinstance(self.validation, ExtraLabels) if self.refit is None else self.refit


def draw(info: TaskInfo, dataset: Dataset, seed: int, fold: Fold | None = None) -> Task:
    """Return the task with a part of the labels for validation.

    Args:
        info: Facts of the task.
        dataset: The dataset.
        seed: The cell's seed.
        fold: The fold of the labelled examples that is for validation; None is the part that is held out.
    """
    sample = draw_shots(
        dataset.y,
        dataset.rows(TRAIN),
        info.shots,
        seed,
        info.dataset,
        source_val=dataset.rows(VAL),
        groups=dataset.group,
        extra=extra_labels(info.options),
        scarce=gives_what_it_has(info.options),
    )
    if fold is not None:
        labelled = np.sort(np.concatenate([sample.train, sample.val]))
        folds = _folds(labelled, fold.count, info, dataset, seed)
        sample = replace(sample, train=labelled[folds != fold.number], val=labelled[folds == fold.number])
    return Task(
        info=info,
        train=take(dataset, sample.train, dataset.y[sample.train]),
        val=take(dataset, sample.val, dataset.y[sample.val]) if len(sample.val) else None,
        unlabeled=take(dataset, sample.unlabeled, None) if len(sample.unlabeled) else None,
    )


def run(info: TaskInfo, dataset: Dataset, seed: int, fit: Fit, ctx: Context) -> Outcome | None:
    """Sample the task, choose, fit, and score on the test split.

    Args:
        info: Facts of the task.
        dataset: The target dataset.
        seed: The cell's seed, which determines the sample.
        fit: Fits the method on a task, in a context of its own where one is given.
        ctx: The cell's context.

    Returns:
        The outcome; None in every process of a group but the first.
    """
    if ctx.validation_only:
        return _run_trial(info, dataset, seed, fit, ctx)
    predictor = fit(_chosen_task(info, dataset, seed, fit, ctx))
    if not ctx.group.is_first:
        return None
    answers = _answers(predictor, dataset, dataset.rows(TEST), ctx)
    return scored_outcome(ctx, predictor.footprint(), *answers, {}, classes=dataset.info.classes)


def _run_trial(info: TaskInfo, dataset: Dataset, seed: int, fit: Fit, ctx: Context) -> Outcome | None:
    """Fit as a cell does, but without a part of the labels, and score on that part."""
    split = draw(info, dataset, seed, ctx.fold)
    ctx.notes += _notes(split, dataset)
    task = split
    if split.val is not None and not _ships_validation(info, dataset):
        validation = Options(**info.options).validation
        if validation in ("auto", "none"):
            ctx.followed = split.val
            folds = _fold_of_each(split.train.rows, info, dataset, seed) if validation == "auto" else None
            task = replace(split, val=None, folds=folds)
    predictor = fit(task)
    if not ctx.group.is_first:
        return None
    answers = None if split.val is None else _answers(predictor, dataset, split.val.rows, ctx)
    return validation_outcome(ctx, predictor.footprint(), answers)


def _chosen_task(info: TaskInfo, dataset: Dataset, seed: int, fit: Fit, ctx: Context) -> Task:
    """Return the task to fit on at last, after the choices that take fits of their own."""
    options = Options(**info.options)
    split = draw(info, dataset, seed)
    if split.val is None or (_ships_validation(info, dataset) and options.validation != "none"):
        return split
    if options.validation not in ("auto", "none"):
        ctx.notes += _notes(split, dataset)
        if not options.refits:
            return split
    labelled = split.train.rows
    if not _ships_validation(info, dataset):
        labelled = np.sort(np.concatenate([split.train.rows, split.val.rows]))
    whole = replace(split, train=take(dataset, labelled, dataset.y[labelled]), val=None)
    if options.validation == "auto":
        whole = replace(whole, folds=_fold_of_each(labelled, info, dataset, seed))
        ctx.notes += _notes(whole, dataset)
        return whole
    if options.validation == "k_fold":
        count = min(MOST_FOLDS, int(np.bincount(dataset.y[labelled])[np.unique(dataset.y[labelled])].min()))
        choose_by_fits([draw(info, dataset, seed, Fold(number, count)) for number in range(count)], fit, ctx)
    elif options.validation != "none":
        choose_by_fits([split], fit, ctx)
    return whole


def _ships_validation(info: TaskInfo, dataset: Dataset) -> bool:
    """Return whether the validation part is the source's own, which is beside the labels to fit on."""
    return info.shots == "full" and len(dataset.rows(VAL)) > 0


def _fold_of_each(rows: NDArray[np.int64], info: TaskInfo, dataset: Dataset, seed: int) -> NDArray[np.int64] | None:
    """Return the fold of each labelled example (n,): of several, or of one, outside of which most have -1.

    None where a class has one label only.
    """
    of_class = np.bincount(dataset.y[rows])
    count = folds_of_choices(of_class[of_class > 0].tolist())
    if count == 0:
        return None
    if count > 1:
        return _folds(rows, count, info, dataset, seed)
    return np.where(_folds(rows, MOST_FOLDS, info, dataset, seed) == 0, 0, -1)


def _folds(rows: NDArray[np.int64], count: int, info: TaskInfo, dataset: Dataset, seed: int) -> NDArray[np.int64]:
    groups = None if dataset.group is None else dataset.group[rows]
    seed = derive_seed(info.dataset.fingerprint, info.shots, seed, "folds")
    return assign_folds(dataset.y[rows], groups, count, seed)


def _answers(predictor: Predictor, dataset: Dataset, rows: NDArray[np.int64], ctx: Context) -> tuple[Tensor, Tensor]:
    """Return logits (n, classes) and labels (n,) of some rows of the dataset."""
    labels = torch.from_numpy(np.asarray(dataset.y[rows]))
    if isinstance(predictor, FeaturePredictor) and ctx.features is not None:
        with torch.no_grad():
            return predictor.head(ctx.features.take(rows).to(ctx.device)).float().cpu(), labels
    return embed(predictor.logits, dataset.x, rows, ctx.device), labels


def _notes(task: Task, dataset: Dataset) -> list[str]:
    """Return a note if examples that choose resemble examples that are fitted to, so that scores are too optimistic."""
    if dataset.group is None:
        return []
    train, val = task.train.rows, np.empty(0, np.int64) if task.val is None else task.val.rows
    pairs = [(train[fitted], val if scored is None else train[scored]) for fitted, scored in task.choosing()]
    mixed = sorted({int(label) for pair in pairs for label in classes_mixed(dataset.y, dataset.group, *pair)})
    if not mixed:
        return []
    names = ", ".join(dataset.info.classes[label] for label in mixed)
    return [f"validation has examples of groups that are trained on, for want of others: {names}"]
