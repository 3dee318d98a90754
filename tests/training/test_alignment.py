"""Losses on unlabelled batches: correlation alignment, class confusion, information maximisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tlbench.training.adaptation.class_confusion import class_confusion
from tlbench.training.adaptation.coral import covariance_distance
from tlbench.training.adaptation.information_maximization import information_loss


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SOURCE, TARGET = _draw(9, 4), 2 * _draw(6, 4, seed=1)


def test_coral_is_the_distance_of_numpys_covariances() -> None:
    apart = np.cov(SOURCE.numpy().T) - np.cov(TARGET.numpy().T)
    expected = (apart**2).sum() / (4 * 4**2)
    assert covariance_distance(SOURCE, TARGET).item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(covariance_distance(TARGET, SOURCE), covariance_distance(SOURCE, TARGET))


def test_coral_ignores_where_a_domain_lies_and_how_it_is_turned() -> None:
    expected = covariance_distance(SOURCE, TARGET)
    turn, _ = torch.linalg.qr(_draw(4, 4, seed=2))
    torch.testing.assert_close(covariance_distance(SOURCE + 50, TARGET - 9), expected)
    torch.testing.assert_close(covariance_distance(SOURCE @ turn, TARGET @ turn), expected)
    assert covariance_distance(SOURCE, SOURCE + 3).item() == pytest.approx(0, abs=1e-28)


def test_coral_grows_with_the_fourth_power_of_scale_and_has_the_gradient_of_finite_differences() -> None:
    torch.testing.assert_close(covariance_distance(3 * SOURCE, 3 * TARGET), 81 * covariance_distance(SOURCE, TARGET))
    pair = (SOURCE.clone().requires_grad_(), TARGET.clone().requires_grad_())
    assert torch.autograd.gradcheck(covariance_distance, pair)


def test_coral_is_computed_in_single_precision_under_autocast() -> None:
    exact = covariance_distance(SOURCE.bfloat16().double(), TARGET.bfloat16().double())
    with torch.autocast("cpu", torch.bfloat16):
        found = covariance_distance(SOURCE.bfloat16(), TARGET.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


def test_coral_is_pytorch_adapts() -> None:
    layers = pytest.importorskip("pytorch_adapt.layers")
    own, its = ([z.clone().requires_grad_() for z in (SOURCE, TARGET)] for _ in range(2))
    ours, theirs = covariance_distance(*own), layers.CORALLoss()(*its)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(ours, own), torch.autograd.grad(theirs, its))


LOGITS = 3 * _draw(7, 4)


def _confusion(logits: Tensor, temperature: float, axis: int) -> float:
    """Class confusion written out, normalised over one axis of the matrix or the other."""
    probabilities, weights = [], []
    for row in (logits / temperature).tolist():
        powers = [math.exp(value) for value in row]
        p = [power / sum(powers) for power in powers]
        probabilities.append(p)
        weights.append(1 + math.exp(sum(each * math.log(each) for each in p)))
    scale = len(weights) / sum(weights)
    classes = range(logits.shape[1])
    matrix = [
        [sum(scale * w * p[a] * p[b] for w, p in zip(weights, probabilities, strict=True)) for b in classes]
        for a in classes
    ]
    total = 0.0
    for a in classes:
        for b in classes:
            if a != b:
                total += matrix[a][b] / sum(matrix[a][c] if axis else matrix[c][b] for c in classes)
    return total / logits.shape[1]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("axis", [0, 1])
def test_confusion_is_the_sum_off_the_diagonal_over_either_axis(temperature: float, axis: int) -> None:
    found = class_confusion(LOGITS, temperature).item()
    assert found == pytest.approx(_confusion(LOGITS, temperature, axis), rel=1e-12)


def test_confusion_does_not_care_in_what_order_classes_and_examples_come() -> None:
    found = class_confusion(LOGITS, 2.5)
    torch.testing.assert_close(class_confusion(LOGITS[:, [2, 0, 3, 1]], 2.5), found)
    torch.testing.assert_close(class_confusion(LOGITS.flip(0), 2.5), found)
    torch.testing.assert_close(class_confusion(LOGITS + 5, 2.5), found)


def test_confusion_of_the_clueless_and_of_the_certain() -> None:
    assert class_confusion(torch.zeros(6, 4), 2.5).item() == pytest.approx(3 / 4)
    assert class_confusion(100 * torch.eye(4), 2.5).item() == pytest.approx(0, abs=1e-6)


def test_no_gradient_of_confusion_flows_through_the_weights() -> None:
    z = LOGITS.clone().requires_grad_()
    p = (z / 2.5).softmax(1)
    weights = 1 + (p * p.log()).sum(1).exp().detach()
    weights = weights / weights.mean()
    matrix = (p * weights[:, None]).T @ p
    expected = (matrix / matrix.sum(1, keepdim=True)).fill_diagonal_(0).sum() / 4
    torch.testing.assert_close(
        torch.autograd.grad(class_confusion(z, 2.5), z), torch.autograd.grad(expected, z), rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize("loss", [lambda z: class_confusion(z, 2.5), information_loss], ids=["mcc", "information"])
def test_extreme_logits_give_finite_losses_and_gradients(loss) -> None:
    for z in (1e4 * LOGITS.float(), 1e4 * torch.eye(4)[[0, 0, 1]]):
        (gradient,) = torch.autograd.grad(loss(z.requires_grad_()), z)
        assert torch.isfinite(loss(z))
        assert torch.isfinite(gradient).all()


def test_confusion_is_pytorch_adapts() -> None:
    layers = pytest.importorskip("pytorch_adapt.layers")
    torch.testing.assert_close(class_confusion(LOGITS, 2.5), layers.MCCLoss(T=2.5)(LOGITS), rtol=1e-5, atol=1e-6)


def test_the_information_loss_is_minus_the_mutual_information() -> None:
    p = LOGITS.softmax(1).numpy()
    mean = p.mean(0)
    mutual = sum(q * math.log(q / m) for row in p for q, m in zip(row, mean, strict=True)) / len(p)
    assert information_loss(LOGITS).item() == pytest.approx(-mutual, rel=1e-12)


def test_the_information_loss_is_least_for_certain_predictions_of_all_classes_alike() -> None:
    assert information_loss(100 * torch.eye(4)).item() == pytest.approx(-math.log(4), abs=1e-5)
    assert information_loss(100 * torch.eye(4)[[1, 1, 1]]).item() == pytest.approx(0, abs=1e-6)
    assert information_loss(LOGITS[:1].expand(3, 4)).item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(information_loss, (LOGITS.clone().requires_grad_(),))
