"""Multinomial logistic regression on many small support sets at once, each to convergence.

The same problem as :mod:`tlbench.training.logistic_regression`, for episodes: thousands of problems with a few examples
each. They are solved together by Newton's method in double precision, its linear systems by conjugate gradients, and in
the span of the support: weights are kept as coefficients of the centred examples, whose products are computed once, so
that an iteration costs the same for any number of features. Centring changes the bias and nothing else.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

TOLERANCE = 1e-8  # of the mean loss's gradient, at the bias and times each example, at which a problem is solved
_NEWTON, _CONJUGATE, _HALVINGS = 100, 200, 30
_PRECISE = 1e-2  # residual of a linear system over its right-hand side
_DECREASE = 1e-4  # of what the slope promises, that a step must bring at least


class _Point(NamedTuple):
    """Weights and bias of E problems, or a direction among such.

    Attributes:
        a: Coefficients of the centred examples (E, ways, S); the weights are ``a @ x``.
        dots: Products of the weights with the examples (E, ways, S).
        b: Bias (E, ways, 1).
    """

    a: Tensor
    dots: Tensor
    b: Tensor

    def plus(self, step: Tensor, other: _Point) -> _Point:
        """Return this plus ``step`` (E, 1, 1) times another."""
        return _Point(*(mine + step * theirs for mine, theirs in zip(self, other, strict=True)))

    def inner(self, other: _Point) -> Tensor:
        """Return the products (E, 1, 1) of weights and bias with another's."""
        return _total(self.dots * other.a) + _total(self.b * other.b)


class BatchedLogisticProblem:
    """E problems: minimise sum of cross-entropies + ||W||^2 / (2 C) over W and an unpenalised bias.

    This is scikit-learn's ``LogisticRegression(C=C)`` on each of them; for two classes its C is twice this one.

    Args:
        z: Inputs (E, S, D).
        labels: (E, S), 0 ... ways - 1.
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
        for _ in range(_NEWTON):
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
        """Return the gradient whose weights have coefficients ``a``; the bias sees the errors alone."""
        return _Point(a, a @ self._products, error.sum(2, keepdim=True))

    def _newton(self, gradient: _Point, p: Tensor, c: float, active: Tensor) -> _Point:
        """Return the direction that Newton's method takes from a point with class probabilities p (E, ways, S)."""
        found = _Point(*(torch.zeros_like(part) for part in gradient))
        residual = search = _Point(*(-part for part in gradient))
        size = residual.inner(residual)
        enough = _PRECISE**2 * size
        for _ in range(_CONJUGATE):
            active = active & (size > enough)
            if not active.any():
                break
            moved = search.dots + search.b
            error = p * (moved - (p * moved).sum(1, keepdim=True))
            image = self._of(error + search.a / c, error)
            step = torch.where(active, size / search.inner(image), 0.0)
            found = found.plus(step, search)
            residual = residual.plus(-step, image)
            before, size = size, torch.where(active, residual.inner(residual), size)
            search = residual.plus(torch.where(active, size / before, 0.0), search)
        return found

    def _step(self, point: _Point, direction: _Point, gradient: _Point, c: float) -> Tensor:
        """Return step lengths (E, 1, 1), halved until they bring what the slope promises."""
        slope, start = gradient.inner(direction), self._loss(point, c)
        step = torch.ones_like(slope)
        for _ in range(_HALVINGS):
            short = self._loss(point.plus(step, direction), c) > start + _DECREASE * step * slope + 1e-12 * start.abs()
            if not short.any():
                break
            step = torch.where(short, step / 2, step)
        return step

    def _loss(self, point: _Point, c: float) -> Tensor:
        logits = point.dots + point.b
        fit = (logits.logsumexp(1, keepdim=True) - (logits * self._member).sum(1, keepdim=True)).sum(2, keepdim=True)
        return fit + _total(point.a * point.dots) / (2 * c)


def _total(x: Tensor) -> Tensor:
    return x.sum((1, 2), keepdim=True)


def _largest(point: _Point) -> Tensor:
    return torch.maximum(point.dots.abs().amax((1, 2), keepdim=True), point.b.abs().amax((1, 2), keepdim=True))
