"""Logistic regression against scikit-learn, automatic differentiation and what its objective implies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tlbench.training.logistic_regression import Array, LogisticProblem


def _problem(n: int, d: int, classes: int, seed: int = 0) -> tuple[Array, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(classes, d))[y] * 0.5 + rng.normal(size=(n, d)), y


@pytest.mark.parametrize(("n", "d", "classes"), [(200, 16, 5), (30, 64, 3), (40, 40, 4)])
@pytest.mark.parametrize("c", [0.01, 1.0, 30.0])
def test_solution_is_that_of_scikit_learn(n: int, d: int, classes: int, c: float) -> None:
    z, y = _problem(n, d, classes)
    problem = LogisticProblem(z, y, classes)
    weights, bias = problem.linear(problem.solve(c, tolerance=1e-8))
    reference = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(z, y)
    np.testing.assert_allclose(weights, reference.coef_, atol=1e-4)
    np.testing.assert_allclose(bias - bias.mean(), reference.intercept_ - reference.intercept_.mean(), atol=1e-4)


def test_objective_and_gradient_are_those_of_automatic_differentiation() -> None:
    z, y = _problem(50, 7, 4)
    problem = LogisticProblem(z, y, 4)
    point = np.random.default_rng(1).normal(size=4 * 8)
    c = 0.3
    both = torch.tensor(point.reshape(4, 8), requires_grad=True)
    logits = torch.tensor(z) @ both[:, :-1].T + both[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y)) + both[:, :-1].square().sum() / (2 * c * 50)
    loss.backward()
    value, gradient = problem._objective(point, 1 / (c * 50))
    assert value == pytest.approx(loss.item(), abs=1e-12)
    assert both.grad is not None
    np.testing.assert_allclose(gradient.reshape(4, 8), both.grad.numpy(), atol=1e-12)


def test_a_warm_start_leads_to_the_same_solution() -> None:
    z, y = _problem(60, 10, 3)
    problem = LogisticProblem(z, y, 3)
    cold = problem.solve(1.0, tolerance=1e-9)
    warm = problem.solve(1.0, problem.solve(100.0), tolerance=1e-9)
    np.testing.assert_allclose(cold, warm, atol=1e-5)


def test_few_examples_are_solved_in_their_span_without_changing_the_answer() -> None:
    z, y = _problem(12, 50, 3)
    few = LogisticProblem(z, y, 3)
    padded = LogisticProblem(np.vstack([z] * 5), np.tile(y, 5), 3)  # the same mean loss, with more rows than columns
    weights, bias = few.linear(few.solve(5.0, tolerance=1e-9))
    others, other_bias = padded.linear(padded.solve(1.0, tolerance=1e-9))
    np.testing.assert_allclose(weights, others, atol=1e-5)
    np.testing.assert_allclose(bias, other_bias, atol=1e-5)


def test_a_class_without_examples_is_never_preferred() -> None:
    z, y = _problem(30, 5, 3)
    problem = LogisticProblem(z, y, 4)
    weights, bias = problem.linear(problem.solve(1.0))
    assert ((z @ weights.T + bias).argmax(1) != 3).all()


def test_weaker_regularisation_means_larger_weights() -> None:
    z, y = _problem(60, 10, 3)
    problem = LogisticProblem(z, y, 3)
    norms = [np.linalg.norm(problem.linear(problem.solve(c))[0]) for c in (0.01, 0.1, 1, 10)]
    assert norms == sorted(norms)
