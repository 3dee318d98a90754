"""Logistic regression on many support sets at once, against scikit-learn on each and conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize

from tlbench.training.fewshot import support_logistic
from tlbench.training.fewshot.support_logistic import BatchedLogisticProblem


def _episodes(ways: int, shots: int, width: int, count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Support of overlapping classes far from the origin, in random order, its labels, and queries."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(count, ways, width, generator=generator)
    labels = torch.stack(
        [torch.arange(ways).repeat(shots)[torch.randperm(ways * shots, generator=generator)] for _ in range(count)]
    )
    own = centres.gather(1, labels.unsqueeze(2).expand(-1, -1, width))
    support = own + torch.randn(count, ways * shots, width, generator=generator) + 1
    return normalize(support, dim=2), labels, normalize(torch.randn(count, 40, width, generator=generator), dim=2)


def _probabilities(support: Tensor, labels: Tensor, query: Tensor, ways: int, c: float) -> Tensor:
    weights, bias = BatchedLogisticProblem(support, labels, ways).solve(c)
    return (query.double() @ weights.transpose(1, 2) + bias.unsqueeze(1)).softmax(2)


def _reference(support: Tensor, labels: Tensor, query: Tensor, c: float) -> Tensor:
    c *= 2 if labels.max() == 1 else 1  # for two classes it has one vector, twice as long as our two
    model = LogisticRegression(C=c, tol=1e-9, max_iter=20_000).fit(support.double().numpy(), labels.numpy())
    return torch.from_numpy(model.predict_proba(query.double().numpy()))


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("ways", "shots", "width"), [(5, 1, 32), (5, 5, 12), (2, 5, 100), (12, 3, 16)])
def test_each_is_scikit_learns(ways: int, shots: int, width: int, c: float) -> None:
    support, labels, query = _episodes(ways, shots, width)
    found = _probabilities(support, labels, query, ways, c)
    for ours, s, y, q in zip(found, support, labels, query, strict=True):
        torch.testing.assert_close(ours, _reference(s, y, q, c), rtol=0, atol=1e-4)


def test_classes_may_have_unequal_shots() -> None:
    support, labels, query = _episodes(3, 4, 16, count=1)
    labels = torch.where(torch.arange(12) < 7, 0, labels)
    labels[0, -2:] = torch.tensor([1, 2])
    found = _probabilities(support, labels, query, 3, 1.0)
    torch.testing.assert_close(found[0], _reference(support[0], labels[0], query[0], 1.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_the_gradient_is_zero(c: float) -> None:
    support, labels, _ = _episodes(5, 5, 64)
    weights, bias = BatchedLogisticProblem(support, labels, 5).solve(c)
    z = support.double()
    error = (z @ weights.transpose(1, 2) + bias.unsqueeze(1)).softmax(2) - torch.eye(5, dtype=torch.float64)[labels]
    torch.testing.assert_close(error.sum(1), torch.zeros_like(bias), rtol=0, atol=1e-6)
    torch.testing.assert_close(error.transpose(1, 2) @ z + weights / c, torch.zeros_like(weights), rtol=0, atol=1e-6)


def test_each_is_solved_as_if_alone() -> None:
    support, labels, query = _episodes(5, 5, 32, count=6)
    support[3] = support[3] * 100  # takes more steps than the others
    together = _probabilities(support, labels, query, 5, 10.0)
    for place in range(6):
        one = [part[place : place + 1] for part in (support, labels, query)]
        torch.testing.assert_close(_probabilities(*one, 5, 10.0)[0], together[place], rtol=0, atol=1e-7)


def test_renaming_the_labels_renames_the_answers_and_moving_the_inputs_changes_nothing() -> None:
    support, labels, query = _episodes(5, 3, 32)
    usual = _probabilities(support, labels, query, 5, 10.0)
    rename = torch.tensor([3, 0, 4, 1, 2])
    renamed = _probabilities(support, rename[labels], query, 5, 10.0)
    torch.testing.assert_close(renamed[:, :, rename], usual, rtol=0, atol=1e-6)
    moved = _probabilities(support.double() + 5, labels, query.double() + 5, 5, 10.0)
    torch.testing.assert_close(moved, usual, rtol=0, atol=1e-6)


def test_without_freedom_it_answers_the_shares_of_the_classes() -> None:
    support, _, query = _episodes(2, 4, 16)
    labels = torch.tensor([0, 0, 1, 0, 0, 1, 0, 0]).expand(3, -1)
    found = _probabilities(support, labels, query, 2, 1e-6)
    shares = torch.tensor([0.75, 0.25], dtype=torch.float64)
    torch.testing.assert_close(found, shares.expand_as(found), rtol=0, atol=1e-5)


def test_it_says_when_it_has_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support_logistic, "_NEWTON_STEPS", 1)
    support, labels, _ = _episodes(5, 5, 32)
    with pytest.warns(UserWarning, match="C = 10 stopped before it converged"):
        BatchedLogisticProblem(support, labels, 5).solve(10.0)


def test_examples_that_are_all_equal_are_no_obstacle() -> None:
    weights, bias = BatchedLogisticProblem(torch.ones(1, 10, 8), torch.arange(10)[None] % 5, 5).solve(100.0)
    assert np.abs(weights.numpy()).max() == 0
    torch.testing.assert_close(bias.softmax(1), torch.full((1, 5), 0.2, dtype=torch.float64))
