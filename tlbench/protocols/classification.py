"""Classification: fit on a few labels per class, select within that label budget, score once on the test split.

The rest of the training images are given without labels, so that methods which use them compete on the same label
budget. The sample of labelled examples depends only on dataset, shots and seed: it is the same for every method.

A trial of a search has the sample of the cells of its seed. Where the part that is held out of it is small, a trial is
fitted once for each fold of the sample, and validated on the fold that it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, Task, take
from tlbench.data.folds import Fold, assign_folds
from tlbench.data.sampling import Draw, draw_shots
from tlbench.data.validation_groups import classes_mixed
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.outcomes import scored_outcome, validation_outcome
from tlbench.training.predictor import FeaturePredictor, Predictor

VERSION = 1
FOLDS = True


class Options(Settings):
    """Classification has no options."""


def draw(info: TaskInfo, dataset: Dataset, seed: int, fold: Fold | None = None) -> Task:
    """Return the task: a sample of labelled, validation and unlabelled training examples.

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
    )
    if fold is not None:
        sample = _in_folds(sample, info, dataset, seed, fold)
    return Task(
        info=info,
        train=take(dataset, sample.train, dataset.y[sample.train]),
        val=take(dataset, sample.val, dataset.y[sample.val]) if len(sample.val) else None,
        unlabeled=take(dataset, sample.unlabeled, None) if len(sample.unlabeled) else None,
    )


def _in_folds(sample: Draw, info: TaskInfo, dataset: Dataset, seed: int, fold: Fold) -> Draw:
    """Return a sample with one fold of its labelled examples for validation, and the others to fit on."""
    rows = np.sort(np.concatenate([sample.train, sample.val]))
    groups = None if dataset.group is None else dataset.group[rows]
    folds = assign_folds(
        dataset.y[rows], groups, fold.count, derive_seed(info.dataset.fingerprint, info.shots, seed, "folds")
    )
    return replace(sample, train=rows[folds != fold.number], val=rows[folds == fold.number])


def run(info: TaskInfo, dataset: Dataset, seed: int, fit: Callable[[Task], Predictor], ctx: Context) -> Outcome | None:
    """Sample the task, fit, and score on the test split.

    Args:
        info: Facts of the task.
        dataset: The target dataset.
        seed: The cell's seed, which determines the sample.
        fit: Fits the method on a task.
        ctx: The cell's context.

    Returns:
        The outcome; None in every process of a group but the first.
    """
    task = draw(info, dataset, seed, ctx.fold)
    ctx.notes += _notes(task, dataset)
    predictor = fit(task)
    if not ctx.group.is_first:
        return None
    if ctx.validation_only:
        answers = None if task.val is None else _answers(predictor, dataset, task.val.rows, ctx)
        return validation_outcome(ctx, predictor.footprint(), answers)
    return scored_outcome(ctx, predictor.footprint(), *_answers(predictor, dataset, dataset.rows(TEST), ctx), {})


def _answers(predictor: Predictor, dataset: Dataset, rows: NDArray[np.int64], ctx: Context) -> tuple[Tensor, Tensor]:
    """Return logits (n, classes) and labels (n,) of some rows of the dataset."""
    labels = torch.from_numpy(np.asarray(dataset.y[rows]))
    if isinstance(predictor, FeaturePredictor) and ctx.features is not None:
        with torch.no_grad():
            return predictor.head(ctx.features.take(rows).to(ctx.device)).float().cpu(), labels
    return embed(predictor.logits, dataset.x, rows, ctx.device), labels


def _notes(task: Task, dataset: Dataset) -> list[str]:
    """Return a note if validation examples resemble training examples, so that validation is too optimistic."""
    if dataset.group is None or task.val is None:
        return []
    mixed = [
        dataset.info.classes[label] for label in classes_mixed(dataset.y, dataset.group, task.train.rows, task.val.rows)
    ]
    if not mixed:
        return []
    return [f"validation has examples of groups that are trained on, for want of others: {', '.join(mixed)}"]
