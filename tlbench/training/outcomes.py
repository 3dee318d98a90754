"""The outcome of a fitted method: test scores of its logits, or only what it reported on validation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from tlbench.core.record import Footprint, Outcome, pack_bits
from tlbench.training.context import Context


def classification_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, macro-F1, negative log-likelihood (nats) and expected calibration error with 15 bins.

    Args:
        logits: Logits (N, classes).
        labels: Labels (N,).
    """
    classes = logits.shape[1]
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "macro_f1": multiclass_f1_score(logits, labels, classes, average="macro", validate_args=False).item(),
        "nll": cross_entropy(logits.double(), labels).item(),
        "ece": multiclass_calibration_error(logits.softmax(1), labels, classes, 15, validate_args=False).item(),
    }


def scored_outcome(
    ctx: Context,
    footprint: Footprint,
    logits: Tensor,
    labels: Tensor,
    further_scores: Mapping[str, float],
    *,
    group: int = 1,
    transductive: bool = False,
) -> Outcome:
    """Return the outcome of N test predictions: scores, a bit of correctness per prediction, and the logits' hash.

    Args:
        ctx: The context after the fit, with what the method reported.
        footprint: The footprint of the fitted method.
        logits: Logits (N, classes).
        labels: Labels (N,).
        further_scores: Scores besides :func:`classification_scores`.
        group: Number of consecutive predictions that belong together (queries of one episode).
        transductive: Whether a prediction may depend on the others of its group.

    Raises:
        FloatingPointError: A logit is not finite.
    """
    scores = classification_scores(logits, labels) | dict(further_scores)
    if not torch.isfinite(logits).all():
        raise FloatingPointError("the fitted model gives logits that are not finite")
    correct = (logits.argmax(1) == labels).numpy()
    return Outcome(
        scores=scores,
        validation=ctx.validation,
        curves=ctx.curves,
        selected=ctx.selected,
        tests=len(correct),
        correct=pack_bits(np.packbits(correct).tobytes()),
        group=group,
        transductive=transductive,
        oracle=ctx.oracle,
        logits=hashlib.sha256(np.ascontiguousarray(logits.numpy(), dtype="<f4").tobytes()).hexdigest()[:32],
        footprint=footprint,
        notes=tuple(ctx.notes),
    )


def validation_outcome(ctx: Context, footprint: Footprint) -> Outcome:
    """Return the outcome of a fitted method without reading the test split: what it reported on validation.

    Args:
        ctx: The context after the fit.
        footprint: The footprint of the fitted method.

    Raises:
        FloatingPointError: A validation score is not finite.
    """
    if not all(map(math.isfinite, ctx.validation.values())):
        raise FloatingPointError("validation scores of the fitted model are not finite")
    return Outcome(
        scores={},
        validation=ctx.validation,
        curves=ctx.curves,
        selected=ctx.selected,
        footprint=footprint,
        notes=tuple(ctx.notes),
    )
