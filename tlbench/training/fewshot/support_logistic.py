"""Multinomial logistic regression on many small support sets at once, each solved to convergence.

The same problem as :mod:`tlbench.training.logistic_regression`, for episodes: thousands of problems with a few examples
each. They are solved together by Newton's method in float64, with conjugate gradients for its linear systems, and in
the span of the support: weights are represented by coefficients of the centred examples, whose inner products are
computed once, so that the cost of an iteration does not depend on the number of features. Centring affects the bias
only.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

TOLERANCE = 1e-8
"""Convergence: largest component of the mean loss's gradient, by bias and by inner products with the examples."""

_NEWTON_STEPS, _CONJUGATE_STEPS, _HALVINGS = 100, 200, 30
_RESIDUAL = 1e-2  # norm of the residual of a linear system over that of its right-hand side
_DECREASE = 1e-4  # Armijo condition: fraction of the decrease predicted by the slope that a step must achieve


class _Point(NamedTuple):
    """Weights and biases of E problems, or a direction in their space.

    Attributes:
        a: Coefficients of the centred examples (E, ways, S); the weights are ``a @ x``.
        dots: Inner products of the weights with the examples (E, ways, S).
        b: Biases (E, ways, 1).
    """

    a: Tensor
    dots: Tensor
    b: Tensor

    def plus(self, step: Tensor, other: _Point) -> _Point:
        """Return the sum of this point and ``step`` (E, 1, 1) times another."""
        return _Point(*(own + step * others for own, others in zip(self, other, strict=True)))

    def inner(self, other: _Point) -> Tensor:
        """Return the inner products (E, 1, 1) with another point, over weights and biases."""
        return _total(self.dots * other.a) + _total(self.b * other.b)


class BatchedLogisticProblem:
    """E problems: minimise sum of cross-entropies + ||W||^2 / (2 C) over W and an unpenalised bias.

    This is scikit-learn's ``LogisticRegression(C=C)`` for each of them; for two classes its C is twice this one.

    Args:
        z: Inputs (E, S, D).
        labels: Labels (E, S), 0 ... ways - 1.
        ways: Number of classes.
    """

    def __init__(self, z: Tensor, labels: Tensor, ways: int) -> None:
        z = z.double()
        self._mean = z.mean(1, keepdim=True)
        self._x = z - self._mean
        self._products = self._x @ self._x.transpose(1, 2)
        self._member = one_hot(labels, ways).transpose(1, 2).double()

    def solve(self, c: float) -> tuple[Tensor, Tensor]:
        """Return weights (E, ways, D) and bias (E, ways) for one inverse strength of regularisation."""
        zero = torch.zeros_like(self._member)
        point = _Point(zero, zero, zero[:, :, :1])
        for _ in range(_NEWTON_STEPS):
            gradient, p = self._gradient(point, c)
            active = _largest(gradient) > TOLERANCE * self._x.shape[1]
            if not active.any():
                break
            direction = self._newton(gradient, p, c, active)
            point = point.plus(self._step(point, direction, gradient, c) * active, direction)
        else:
            warnings.warn(f"logistic regression on a support with C = {c:g} stopped before it converged", stacklevel=2)
        weights = point.a @ self._x
        bias = point.b - weights @ self._mean.transpose(1, 2)
        return weights, bias.squeeze(2)

    def _gradient(self, point: _Point, c: float) -> tuple[_Point, Tensor]:
        p = (point.dots + point.b).softmax(1)
        error = p - self._member
        return self._of(error + point.a / c, error), p

    def _of(self, a: Tensor, error: Tensor) -> _Point:
        """Return the gradient with coefficients ``a`` of the weights; that of the bias is the sum of the errors."""
        return _Point(a, a @ self._products, error.sum(2, keepdim=True))

    def _newton(self, gradient: _Point, p: Tensor, c: float, active: Tensor) -> _Point:
        """Return the Newton direction at a point with class probabilities p (E, ways, S), by conjugate gradients."""
        direction = _Point(*(torch.zeros_like(part) for part in gradient))
        residual = search = _Point(*(-part for part in gradient))
        size = residual.inner(residual)
        smallest = _RESIDUAL**2 * size
        for _ in range(_CONJUGATE_STEPS):
            active = active & (size > smallest)
            if not active.any():
                break
            change = search.dots + search.b
            error = p * (change - (p * change).sum(1, keepdim=True))
            product = self._of(error + search.a / c, error)  # of the Hessian with the search direction
            step = torch.where(active, size / search.inner(product), 0.0)
            direction = direction.plus(step, search)
            residual = residual.plus(-step, product)
            before, size = size, torch.where(active, residual.inner(residual), size)
            search = residual.plus(torch.where(active, size / before, 0.0), search)
        return direction

    def _step(self, point: _Point, direction: _Point, gradient: _Point, c: float) -> Tensor:
        """Return step lengths (E, 1, 1) by backtracking: halved until the Armijo condition holds."""
        slope, start = gradient.inner(direction), self._loss(point, c)
        step = torch.ones_like(slope)
        for _ in range(_HALVINGS):
            loss = self._loss(point.plus(step, direction), c)
            too_long = loss > start + _DECREASE * step * slope + 1e-12 * start.abs()
            if not too_long.any():
                break
            step = torch.where(too_long, step / 2, step)
        return step

    def _loss(self, point: _Point, c: float) -> Tensor:
        logits = point.dots + point.b
        losses = logits.logsumexp(1, keepdim=True) - (logits * self._member).sum(1, keepdim=True)
        return losses.sum(2, keepdim=True) + _total(point.a * point.dots) / (2 * c)


def _total(x: Tensor) -> Tensor:
    return x.sum((1, 2), keepdim=True)


def _largest(point: _Point) -> Tensor:
    return torch.maximum(point.dots.abs().amax((1, 2), keepdim=True), point.b.abs().amax((1, 2), keepdim=True))
