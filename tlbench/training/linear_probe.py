"""Multinomial logistic regression on frozen features: the linear probe, and the start of methods that go on from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from tlbench.data.dataset import Split, Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.data_parallel import broadcast_from_rank_zero
from tlbench.training.evaluation import ValidationScores, score_logits
from tlbench.training.logistic_regression import Array, LogisticProblem

C_GRID = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
DEFAULT_C = 1.0  # C where there is no validation to choose it on
SELECTION_TOLERANCE = 1e-4  # tolerance of the fits that are only compared


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe on centred features divided by one number.

    Attributes:
        C: Inverse regularisation.
        mean: Mean of the training features (out_dim,).
        scale: Root mean square of what is left.
        weights: (classes, out_dim).
        bias: (classes,).
        scores: On validation, if there is one.
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
        """Return weights (classes, out_dim) and bias (classes,) that do the same to the features themselves.

        They are computed in double precision, since features far from zero cancel, and rounded once at the end.

        Args:
            dtype: What to round to; by default what the probe itself has.
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
    """Fit to convergence on the frozen features of the training examples.

    Args:
        task: What to fit on and to choose C by.
        ctx: Holds the features.
        C: Inverse regularisation; None chooses it on validation from a logarithmic grid, from strong to weak, each
            fit starting from the last.
        features: Returns the features (n, out_dim) of a split; by default those of the backbone as it was given.
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
        c, start = _choose(problem, _numpy((z_val - mean) / scale), y_val)
    weights, bias = (torch.from_numpy(part).to(z) for part in problem.linear(problem.solve(c, start)))
    probe = LinearProbe(c, mean, scale, weights, bias, None)
    if z_val is None or y_val is None:
        return probe
    return LinearProbe(c, mean, scale, weights, bias, score_logits(probe(z_val), y_val.to(z.device)))


def initialise_head(
    model: Classifier, task: Task, ctx: Context, features: Callable[[Split], Tensor] | None = None
) -> LinearProbe:
    """Give a classifier the head of a probe fitted on its backbone as given, features' centring folded in.

    All processes of a data-parallel training start from the first one's probe, which is returned, on the CPU.
    ``features`` are those of :func:`fit_probe`.
    """
    probe = fit_probe(task, ctx, features=features)
    tensors = {name: value.cpu() for name, value in vars(probe).items() if isinstance(value, Tensor)}
    probe = broadcast_from_rank_zero(replace(probe, **tensors))
    weights, bias = probe.folded(model.head.weight.dtype)
    with torch.no_grad():
        model.head.weight.copy_(weights)
        model.head.bias.copy_(bias)
    return probe


def _choose(problem: LogisticProblem, inputs: NDArray[np.float64], labels: Tensor) -> tuple[float, Array]:
    """Return the C that is best on validation (of equals the strongest regularisation) and its rough solution."""
    tried: list[tuple[ValidationScores, float, Array]] = []
    solution = None
    for c in C_GRID:
        solution = problem.solve(c, solution, tolerance=SELECTION_TOLERANCE)
        weights, bias = problem.linear(solution)
        tried.append((score_logits(torch.from_numpy(inputs @ weights.T + bias), labels), c, solution))
    _, c, solution = max(tried, key=lambda one: one[0].order)
    return c, solution


def _numpy(z: Tensor) -> NDArray[np.float64]:
    return z.double().cpu().numpy()
