"""Classification: fit on a few labels per class, select within that label budget, score once on the test split.

The rest of the training images are given without labels, so that methods which use them compete on the same label
budget. The sample of labelled examples depends only on dataset, shots and seed: it is the same for every method.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tlbench.core.config import Settings
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, Task, take
from tlbench.data.sampling import draw_shots
from tlbench.data.validation_groups import classes_mixed
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.outcomes import scored_outcome, validation_outcome
from tlbench.training.predictor import FeaturePredictor, Predictor

VERSION = 1


class Options(Settings):
    """Classification has no options."""


def draw(info: TaskInfo, dataset: Dataset, seed: int) -> Task:
    """Return the task: a sample of labelled, validation and unlabelled training examples.

    Args:
        info: Facts of the task.
        dataset: The dataset.
        seed: The cell's seed.
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
    return Task(
        info=info,
        train=take(dataset, sample.train, dataset.y[sample.train]),
        val=take(dataset, sample.val, dataset.y[sample.val]) if len(sample.val) else None,
        unlabeled=take(dataset, sample.unlabeled, None) if len(sample.unlabeled) else None,
    )


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
    task = draw(info, dataset, seed)
    ctx.notes += _notes(task, dataset)
    predictor = fit(task)
    if not ctx.group.is_first:
        return None
    if ctx.validation_only:
        return validation_outcome(ctx, predictor.footprint())
    rows = dataset.rows(TEST)
    labels = torch.from_numpy(np.asarray(dataset.y[rows]))
    if isinstance(predictor, FeaturePredictor) and ctx.features is not None:
        with torch.no_grad():
            logits = predictor.head(ctx.features.take(rows).to(ctx.device)).float().cpu()
    else:
        logits = embed(predictor.logits, dataset.x, rows, ctx.device)
    return scored_outcome(ctx, predictor.footprint(), logits, labels, {})


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
