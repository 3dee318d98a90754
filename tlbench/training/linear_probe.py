"""The linear probe: multinomial logistic regression on frozen features, also as the initial head of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from tlbench.data.dataset import Split, Task
from tlbench.training.classifier import Classifier
from tlbench.training.collectives import broadcast_from_rank_zero
from tlbench.training.context import Context
from tlbench.training.evaluation import ValidationScores, score_logits
from tlbench.training.logistic_regression import Array, LogisticProblem

C_GRID = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""Values of the inverse regularisation C to choose from on validation."""

DEFAULT_C = 1.0
"""C where there is no validation to choose it on."""

SELECTION_TOLERANCE = 1e-4
"""Tolerance of the fits that are only compared on validation."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe on standardised features: centred, and divided by a scalar.

    Attributes:
        C: Inverse regularisation.
        mean: Mean of the training features (out_dim,).
        scale: Root mean square of the centred training features.
        weights: Weights (classes, out_dim).
        bias: Bias (classes,).
        scores: Scores on validation, if there is any.
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


def fit_probe(
    task: Task,
    ctx: Context,
    C: float | None = None,  # noqa: N803 - the field's name
    features: Callable[[Split], Tensor] | None = None,
) -> LinearProbe:
    """Fit a probe to convergence on the features of the training examples.

    Args:
        task: Training and validation examples.
        ctx: Provides the frozen features.
        C: Inverse regularisation; None chooses it on validation from :data:`C_GRID`, in ascending order, each fit
            starting from the solution of the last.
        features: Returns the features (n, out_dim) of a split; by default those of the backbone as given.
    """
    features = features or ctx.frozen_features
    z = features(task.train)
    mean = z.mean(0)
    scale = (z - mean).square().mean().sqrt().clamp_min(torch.finfo(z.dtype).tiny)
    problem = LogisticProblem(_numpy((z - mean) / scale), task.train.labels, task.info.classes)
    z_val = features(task.val) if task.val is not None else None
    y_val = torch.from_numpy(task.val.labels) if task.val is not None else None
    c, start = C or DEFAULT_C, None
    if C is None and z_val is not None and y_val is not None:
        c, start = _select_c(problem, _numpy((z_val - mean) / scale), y_val)
    weights, bias = (torch.from_numpy(part).to(z) for part in problem.linear(problem.solve(c, start)))
    probe = LinearProbe(c, mean, scale, weights, bias, None)
    if z_val is None or y_val is None:
        return probe
    return replace(probe, scores=score_logits(probe(z_val), y_val.to(z.device)))


def initialise_head(
    model: Classifier, task: Task, ctx: Context, features: Callable[[Split], Tensor] | None = None
) -> LinearProbe:
    """Fit a probe, and copy it into the linear head of a classifier, so that the classifier has the probe's logits.

    All processes of a group use rank 0's probe.

    Args:
        model: The classifier.
        task: Training and validation examples.
        ctx: Provides the frozen features.
        features: As of :func:`fit_probe`.

    Returns:
        The probe, on the CPU.
    """
    probe = fit_probe(task, ctx, features=features)
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


def _select_c(problem: LogisticProblem, inputs: NDArray[np.float64], labels: Tensor) -> tuple[float, Array]:
    """Return the C with the best validation score, of equal scores the smallest, and its approximate solution."""
    candidates: list[tuple[ValidationScores, float, Array]] = []
    solution = None
    for c in C_GRID:
        solution = problem.solve(c, solution, tolerance=SELECTION_TOLERANCE)
        weights, bias = problem.linear(solution)
        candidates.append((score_logits(torch.from_numpy(inputs @ weights.T + bias), labels), c, solution))
    _, c, solution = max(candidates, key=lambda candidate: candidate[0].order)
    return c, solution


def _numpy(z: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = z.double().cpu().numpy()
    return array
