"""Test scores of a matrix of logits, and the bits and hash that are stored beside them."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from tlbench.core.record import Footprint, Outcome, pack_bits

if TYPE_CHECKING:
    from tlbench.training.context import Context


def classification_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, macro-F1, negative log-likelihood (nats) and 15-bin expected calibration error.

    Args:
        logits: (N, classes).
        labels: (N,).
    """
    classes = logits.shape[1]
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "macro_f1": multiclass_f1_score(logits, labels, classes, average="macro", validate_args=False).item(),
        "nll": cross_entropy(logits.double(), labels).item(),
        "ece": multiclass_calibration_error(logits.softmax(1), labels, classes, 15, validate_args=False).item(),
    }


def evidence(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return the stored evidence of N predictions: their number, one bit each, and the hash of the logits.

    Raises:
        FloatingPointError: A logit is not finite.
    """
    if not torch.isfinite(logits).all():
        raise FloatingPointError("the fitted model gives logits that are not finite")
    correct = (logits.argmax(1) == labels).numpy()
    return {
        "tests": len(correct),
        "correct": pack_bits(np.packbits(correct).tobytes()),
        "logits": hashlib.sha256(np.ascontiguousarray(logits.numpy(), dtype="<f4").tobytes()).hexdigest()[:32],
    }


def validation_outcome(ctx: Context, footprint: Footprint) -> Outcome:
    """Return what is known of a fitted method while the test stays sealed: what it found on validation.

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
