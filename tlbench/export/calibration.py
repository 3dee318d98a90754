"""Collects answers on examples that a model was not fitted to, and fits the temperature of its confidence to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.hashing import derive_seed
from tlbench.core.label_budget import MOST_FOLDS
from tlbench.data.dataset import Dataset, Task, take
from tlbench.data.folds import assign_folds
from tlbench.inference.description import Calibration
from tlbench.protocols._choosing import Fit
from tlbench.stats.temperature import fit_temperature
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import FeaturePredictor, Predictor

Answers = tuple[Tensor, Tensor]
"""Logits (n, classes) and labels (n,)."""

_FOLD_FITS = 1000  # number of the first fit to the others of a fold, apart from those that choose something


def answers(predictor: Predictor, dataset: Dataset, rows: NDArray[np.int64], ctx: Context) -> Answers:
    """Return logits (n, classes) and labels (n,) of some rows, computed as the protocol computes them."""
    labels = torch.from_numpy(np.asarray(dataset.y[rows]))
    if isinstance(predictor, FeaturePredictor) and ctx.features is not None:
        with torch.no_grad():
            return predictor.head(ctx.features.take(rows).to(ctx.device)).float().cpu(), labels
    return embed(predictor.logits, dataset.x, rows, ctx.device), labels


def answers_of_folds(task: Task, dataset: Dataset, fit: Fit, ctx: Context) -> list[Answers]:
    """Return the answers on each fold of a model that is fitted to the others, with the choices made before.

    Args:
        task: What the model was fitted to; where it has no folds, some are made.
        dataset: The dataset.
        fit: Fits the method.
        ctx: The context of the model's own fit.
    """
    rows = task.train.rows
    folds = _folds(task, dataset) if task.folds is None else task.folds
    if folds is None:
        return []
    chosen = {name: value for name, value in ctx.selected.items() if name not in ("validator", "step")}
    found = []
    for number in range(int(folds.max()) + 1):
        own = folds == number
        kept, out = rows[~own], rows[own]
        part = replace(task, train=take(dataset, kept, dataset.y[kept]), val=None, folds=None)
        context = ctx.for_choice(_FOLD_FITS + number)
        context.fixed = {**ctx.fixed, **chosen}
        found.append(answers(fit(part, context), dataset, out, ctx))
    return found


def _folds(task: Task, dataset: Dataset) -> NDArray[np.int64] | None:
    """Return a fold of each training example (n,); None where some class has one example only."""
    rows = task.train.rows
    of_class = np.bincount(dataset.y[rows])
    count = min(MOST_FOLDS, int(of_class[of_class > 0].min()))
    if count < 2:
        return None
    groups = None if dataset.group is None else dataset.group[rows]
    return assign_folds(dataset.y[rows], groups, count, derive_seed(task.info.dataset.fingerprint, "calibration"))


def calibrate(found: list[Answers], said: str) -> Calibration:
    """Return the calibration by some answers.

    Args:
        found: Answers on examples that the model, or one of its kind, was not fitted to; at least one.
        said: Which examples these are.
    """
    logits, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    temperature = fit_temperature(logits.double().numpy(), labels.numpy())
    if temperature is None:
        right = bool((logits.argmax(1) == labels).all())
        reason = "all of them right" if right else "which do not tell right from wrong"
        return Calibration(said=f"not calibrated: no temperature is best on {len(labels)} {said}, {reason}")
    return Calibration(temperature=temperature, examples=len(labels), said=said)
