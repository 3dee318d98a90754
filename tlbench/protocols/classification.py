"""Classification: fit on a few labels a class, select inside that budget, score once on the sealed test split.

The rest of the training images are handed over without labels, so that methods which use them compete on the same
label budget. Draws of labelled examples depend on dataset, shots and seed only: every method meets the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from tlbench.core.config import Settings
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, Task, take
from tlbench.data.sampling import draw_shots
from tlbench.data.validation_groups import classes_mixed
from tlbench.protocols._scores import classification_scores, evidence, validation_outcome
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import FeaturePredictor, Predictor

if TYPE_CHECKING:
    from tlbench.training.context import Context

VERSION = 1


class Options(Settings):
    """Classification has no options of its own."""


def draw(info: TaskInfo, dataset: Dataset, seed: int) -> Task:
    """Draw the labelled, validation and unlabelled parts of the training examples."""
    chosen = draw_shots(
        dataset.y,
        dataset.rows(TRAIN),
        info.shots,
        seed,
        info.dataset,
        source_val=dataset.rows(VAL),
        groups=dataset.group,
    )
    labelled = [take(dataset, rows, dataset.y[rows]) if len(rows) else None for rows in (chosen.train, chosen.val)]
    assert labelled[0] is not None
    return Task(
        info=info,
        train=labelled[0],
        val=labelled[1],
        unlabeled=take(dataset, chosen.unlabeled, None) if len(chosen.unlabeled) else None,
    )


def run(info: TaskInfo, dataset: Dataset, seed: int, fit: Callable[[Task], Predictor], ctx: Context) -> Outcome | None:
    """Draw the task, fit, and score on the test split; None in every process but the first.

    Args:
        info: Facts of the task.
        dataset: The target dataset.
        seed: The cell's seed, which decides the draw.
        fit: The method, closed over backbone, parameters and context.
        ctx: The cell's context.
    """
    task = draw(info, dataset, seed)
    ctx.notes += _notes(task, dataset)
    predictor = fit(task)
    if ctx.rank != 0:
        return None
    if ctx.sealed:
        return validation_outcome(ctx, predictor.footprint())
    rows = dataset.rows(TEST)
    labels = torch.from_numpy(np.asarray(dataset.y[rows]))
    if isinstance(predictor, FeaturePredictor) and ctx.features is not None:
        with torch.no_grad():
            logits = predictor.head(ctx.features.take(rows).to(ctx.device)).float().cpu()
    else:
        logits = embed(predictor.logits, dataset.x, rows, ctx.device)
    return Outcome(
        scores=classification_scores(logits, labels),
        validation=ctx.validation,
        curves=ctx.curves,
        selected=ctx.selected,
        footprint=predictor.footprint(),
        notes=tuple(ctx.notes),
        **evidence(logits, labels),
    )


def _notes(task: Task, dataset: Dataset) -> list[str]:
    """Say where validation is too easy."""
    if dataset.group is None or task.val is None:
        return []
    mixed = [
        dataset.info.classes[label] for label in classes_mixed(dataset.y, dataset.group, task.train.rows, task.val.rows)
    ]
    if not mixed:
        return []
    return [f"validation has examples of groups that are trained on, for want of others: {', '.join(mixed)}"]
