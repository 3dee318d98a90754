"""The outcome of a fitted method: test scores of its logits, or only what it reported on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from tlbench.core.record import (
    Confusion,
    Footprint,
    Outcome,
    ValidationAnswers,
    pack_bits,
    pack_scores,
    unpack_bits,
    unpack_scores,
)
from tlbench.store.answers import logits_hash, pack_answers
from tlbench.training.context import Context
from tlbench.training.validation_scores import score_logits


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
    classes: Sequence[str] = (),
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
        classes: Names of the classes of the dataset; none where a class is only a position, as in an episode.
        group: Number of consecutive predictions that belong together (queries of one episode).
        transductive: Whether a prediction may depend on the others of its group.

    Raises:
        FloatingPointError: A logit is not finite.
    """
    scores = classification_scores(logits, labels) | dict(further_scores)
    if not torch.isfinite(logits).all():
        raise FloatingPointError("the fitted model gives logits that are not finite")
    if ctx.metric is not None:
        scores[ctx.metric.name] = ctx.metric.value(logits, labels)
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
        logits=logits_hash(logits.numpy()),
        footprint=footprint,
        notes=tuple(ctx.notes),
        example_scores=_example_scores(logits, labels, ctx),
        confusion=_confusion(logits, labels, classes).pack() if classes else "",
        test_answers=pack_answers(logits.numpy(), labels.numpy()) if classes else b"",
    )


def _confusion(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> Confusion:
    """Return how often each class was answered with each."""
    pairs, counts = torch.stack([labels, logits.argmax(1)], 1).unique(dim=0, return_counts=True)
    found = torch.cat([pairs, counts[:, None]], 1).tolist()
    return Confusion(classes=tuple(classes), counts=tuple((truth, answer, n) for truth, answer, n in found))


def _example_scores(logits: Tensor, labels: Tensor, ctx: Context) -> str:
    """Return the score of each example by the metric that the suite chose; empty where that is accuracy."""
    if ctx.metric is None:
        return ""
    return pack_scores(ctx.metric.example_scores(logits, labels).astype("<f4").tobytes())


def validation_outcome(
    ctx: Context, footprint: Footprint, answers: tuple[Tensor, Tensor] | None = None, *, group: int = 1
) -> Outcome:
    """Return the outcome of a fitted method without reading the test split: its scores on validation.

    Args:
        ctx: The context after the fit, with what the method reported.
        footprint: The footprint of the fitted method.
        answers: Logits (N, classes) and labels (N,) of validation examples, by which the method is scored in place of
            what it reported; None where the protocol has none.
        group: Number of consecutive answers that belong together (queries of one episode).

    Raises:
        FloatingPointError: A validation score is not finite.
    """
    stored = None
    if answers is not None:
        logits, labels = answers
        ctx.report_validation(score_logits(logits, labels, ctx.metric))
        bits = pack_bits(np.packbits((logits.argmax(1) == labels).numpy()).tobytes())
        own = _example_scores(logits, labels, ctx)
        stored = ValidationAnswers(count=len(labels), correct=bits, group=group, scores=own)
    if not all(map(math.isfinite, ctx.validation.values())):
        raise FloatingPointError("validation scores of the fitted model are not finite")
    return Outcome(
        scores={},
        validation=ctx.validation,
        curves=ctx.curves,
        selected=ctx.selected,
        footprint=footprint,
        notes=tuple(ctx.notes),
        answers=stored,
    )


def pool_folds(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a trial from those of its folds: scores are means over all their validation examples.

    Curves, choices and footprint are those of the first fold.

    Args:
        outcomes: One or more, in the order of the folds; from :func:`validation_outcome` with answers.
    """
    first, *_ = outcomes
    if len(outcomes) == 1:
        return first
    answers = [each.answers for each in outcomes if each.answers is not None]
    counts = [each.count for each in answers]
    if len(answers) < len(outcomes):
        raise ValueError("folds are pooled by their answers, which some fold lacks")
    validation = {
        name: float(np.average([each.validation[name] for each in outcomes], weights=counts))
        for name in first.validation
    }
    bits = np.concatenate([_bits(each) for each in answers])
    own = b"".join(unpack_scores(each.scores, each.count) for each in answers if each.scores)
    correct = pack_bits(np.packbits(bits).tobytes())
    pooled = ValidationAnswers(count=len(bits), correct=correct, scores=pack_scores(own) if own else "")
    notes = tuple(dict.fromkeys(note for each in outcomes for note in each.notes))
    return first.model_copy(update={"validation": validation, "answers": pooled, "notes": notes})


def _bits(answers: ValidationAnswers) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(unpack_bits(answers.correct, answers.count), np.uint8), count=answers.count)
