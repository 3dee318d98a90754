"""The linear probe: multinomial logistic regression on frozen features, also as the initial head of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from tlbench.data.dataset import Split, Task
from tlbench.training.batches import class_weights
from tlbench.training.classifier import Classifier
from tlbench.training.collectives import broadcast_from_rank_zero
from tlbench.training.context import Context
from tlbench.training.logistic_regression import Array, LogisticProblem
from tlbench.training.metric import Metric
from tlbench.training.validation_scores import ValidationScores, by_likelihood, score_logits

C_GRID = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5)
"""Values of the inverse regularisation C to choose from; of features of length 1 on average."""

DEFAULT_C = 1.0
"""C where there is nothing to choose it by."""

SELECTION_TOLERANCE = 1e-4
"""Tolerance of the fits that are only compared."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe on standardised features: centred, and divided by a scalar.

    Attributes:
        C: Inverse regularisation.
        mean: Mean of the training features (out_dim,).
        scale: Root mean square of the lengths of the centred training features.
        weights: Weights (classes, out_dim).
        bias: Bias (classes,).
        scores: Scores of the choice of C; None where nothing was chosen.
    """

    C: float
    mean: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor
    scores: ValidationScores | None

    def __call__(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of features (B, out_dim)."""
        return linear((z - self.mean) / self.scale, self.weights, self.bias)

    def folded(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return weights (classes, out_dim) and bias (classes,) of the same classifier on unstandardised features.

        They are computed in float64, since features far from zero cancel, and rounded once at the end.

        Args:
            dtype: The dtype of the result; by default the probe's own.
        """
        weights = self.weights.double() / self.scale.double()
        bias = self.bias.double() - weights @ self.mean.double()
        return weights.to(dtype or self.weights.dtype), bias.to(dtype or self.bias.dtype)


class _Labelled(NamedTuple):
    """Features (n, out_dim) and labels (n,)."""

    z: Tensor
    y: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> _Labelled:
        return _Labelled(self.z[torch.from_numpy(chosen)], self.y[chosen])


def fit_probe(
    task: Task,
    ctx: Context,
    C: float | None = None,  # noqa: N803 - the field's name
    features: Callable[[Split], Tensor] | None = None,
    *,
    balanced: bool = False,
) -> LinearProbe:
    """Fit a probe to convergence on the features of all training examples.

    Args:
        task: Training examples; validation examples or folds.
        ctx: Provides the frozen features, and C where it was chosen before.
        C: Inverse regularisation; None chooses it from :data:`C_GRID`, in ascending order, each fit starting from the
            solution of the last: by the task's folds, or its validation examples.
        features: Returns the features (n, out_dim) of a split; by default those of the backbone as given.
        balanced: Whether all classes count the same in the loss, whatever their size.
    """
    features = features or ctx.frozen_features
    train = _Labelled(features(task.train), task.train.labels)
    val = None if task.val is None else _Labelled(features(task.val), task.val.labels)
    c, scores = C, None
    if c is None and "C" in ctx.fixed:
        c = float(ctx.fixed["C"])
    if c is None:
        pairs = [(train.where(fitted), _scored(train, scored, val)) for fitted, scored in task.choosing()]
        by_c = _scores(pairs, task.info.classes, ctx.metric, balanced) if pairs else {}
        c = ctx.choose("C", by_c, by_likelihood) if by_c else DEFAULT_C
        scores = by_c.get(c)
    mean, scale = _moments(train.z)
    weights_of_examples = _weights(train.y) if balanced else None
    problem = LogisticProblem(_numpy((train.z - mean) / scale), train.y, task.info.classes, weights_of_examples)
    weights, bias = (torch.from_numpy(part).to(train.z) for part in problem.linear(problem.solve(c)))
    probe = LinearProbe(c, mean, scale, weights, bias, scores)
    if val is None:
        return probe
    return replace(probe, scores=score_logits(probe(val.z), torch.from_numpy(val.y).to(val.z.device), ctx.metric))


def initialise_head(
    model: Classifier,
    task: Task,
    ctx: Context,
    features: Callable[[Split], Tensor] | None = None,
    C: float | None = None,  # noqa: N803 - the field's name
    *,
    balanced: bool = False,
) -> LinearProbe:
    """Fit a probe, and copy it into the linear head of a classifier, so that the classifier has the probe's logits.

    All processes of a group use rank 0's probe.

    Args:
        model: The classifier.
        task: Training examples; validation examples or folds.
        ctx: Provides the frozen features.
        features: As of :func:`fit_probe`.
        C: As of :func:`fit_probe`.
        balanced: As of :func:`fit_probe`.

    Returns:
        The probe, on the CPU.
    """
    probe = fit_probe(task, ctx, C, features, balanced=balanced)
    probe = replace(
        probe, mean=probe.mean.cpu(), scale=probe.scale.cpu(), weights=probe.weights.cpu(), bias=probe.bias.cpu()
    )
    probe = broadcast_from_rank_zero(probe)
    head = model.head
    assert isinstance(head, nn.Linear)
    weights, bias = probe.folded(head.weight.dtype)
    with torch.no_grad():
        head.weight.copy_(weights)
        head.bias.copy_(bias)
    return probe


def _scored(train: _Labelled, scored: NDArray[np.bool_] | None, val: _Labelled | None) -> _Labelled:
    """Return the examples that a choice is scored on: some that are trained on in the end, or the validation's."""
    if scored is not None:
        return train.where(scored)
    assert val is not None, "without folds it is the validation examples that choose"
    return val


def _scores(
    pairs: Sequence[tuple[_Labelled, _Labelled]], classes: int, metric: Metric | None, balanced: bool = False
) -> dict[float, ValidationScores]:
    """Return the scores of each C over all examples that are scored, from approximate solutions."""
    logits: dict[float, list[Tensor]] = {c: [] for c in C_GRID}
    for fitted, scored in pairs:
        mean, scale = _moments(fitted.z)
        weights_of_examples = _weights(fitted.y) if balanced else None
        problem = LogisticProblem(_numpy((fitted.z - mean) / scale), fitted.y, classes, weights_of_examples)
        inputs, solution = _numpy((scored.z - mean) / scale), None
        for c in C_GRID:
            solution = problem.solve(c, solution, tolerance=SELECTION_TOLERANCE)
            weights, bias = problem.linear(solution)
            logits[c].append(torch.from_numpy(inputs @ weights.T + bias))
    labels = torch.from_numpy(np.concatenate([scored.y for _, scored in pairs]))
    return {c: score_logits(torch.cat(parts), labels, metric) for c, parts in logits.items()}


def _weights(labels: NDArray[np.int64]) -> Array:
    weights: Array = class_weights(torch.from_numpy(labels)).double().numpy()[labels]
    return weights


def _moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (out_dim,) of features, and the root mean square of their lengths once they are centred."""
    mean = z.mean(0)
    return mean, (z - mean).square().sum(1).mean().sqrt().clamp_min(torch.finfo(z.dtype).tiny)


def _numpy(z: Tensor) -> Array:
    array: Array = z.double().cpu().numpy()
    return array
