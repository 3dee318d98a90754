"""NT-Xent against closed forms, a loop, two libraries and its invariances; spread against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tlbench.training.selfsupervised.contrastive import alignment_and_uniformity, nt_xent

TEMPERATURE = 0.3


def _embeddings(images: int = 7, width: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(2 * images, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _by_hand(z: Tensor, temperature: float) -> Tensor:
    """The paper's algorithm 1, view by view."""
    count = len(z)
    s = [[float(a @ b / (a.norm() * b.norm())) / temperature for b in z] for a in z]
    losses = []
    for i in range(count):
        others = [math.exp(s[i][k]) for k in range(count) if k != i]
        losses.append(-s[i][(i + count // 2) % count] + math.log(sum(others)))
    return torch.tensor(losses, dtype=z.dtype)


def test_one_image_has_no_loss() -> None:
    assert nt_xent(_embeddings(1), TEMPERATURE).tolist() == [0, 0]


@pytest.mark.parametrize("images", [2, 9])
def test_where_all_views_are_one_point_the_loss_is_that_of_a_guess(images: int) -> None:
    z = torch.ones(2 * images, 4, dtype=torch.float64)
    expected = torch.full((2 * images,), math.log(2 * images - 1), dtype=torch.float64)
    torch.testing.assert_close(nt_xent(z, TEMPERATURE), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_identical_pairs_that_are_orthogonal_to_all_others(temperature: float) -> None:
    images = 6
    z = torch.eye(images, dtype=torch.float64).repeat(2, 1)
    expected = math.log(1 + (2 * images - 2) * math.exp(-1 / temperature))
    assert nt_xent(z, temperature).mean().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("images", [2, 3, 8])
def test_every_loss_is_that_of_a_loop(images: int) -> None:
    z = _embeddings(images)
    torch.testing.assert_close(nt_xent(z, TEMPERATURE), _by_hand(z, TEMPERATURE), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_it_equals_lightly(temperature: float) -> None:
    loss = pytest.importorskip("lightly.loss").NTXentLoss(temperature)
    z = _embeddings(11, 16)
    assert nt_xent(z, temperature).mean().item() == pytest.approx(loss(*z.chunk(2)).item(), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_it_equals_pytorch_metric_learning(temperature: float) -> None:
    loss = pytest.importorskip("pytorch_metric_learning.losses").NTXentLoss(temperature)
    z = _embeddings(11, 16)
    assert nt_xent(z, temperature).mean().item() == pytest.approx(loss(z, torch.arange(11).repeat(2)).item(), rel=1e-9)


def test_it_does_not_depend_on_the_order_of_views_or_images_or_on_lengths() -> None:
    z = _embeddings()
    images, expected = len(z) // 2, nt_xent(z, TEMPERATURE)
    swapped = nt_xent(z.roll(images, 0), TEMPERATURE)
    torch.testing.assert_close(swapped, expected.roll(images, 0), rtol=1e-12, atol=0)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(1))
    both = torch.cat([order, order + images])
    torch.testing.assert_close(nt_xent(z[both], TEMPERATURE), expected[both], rtol=1e-12, atol=0)
    lengths = torch.linspace(0.1, 9, len(z), dtype=z.dtype)[:, None]
    torch.testing.assert_close(nt_xent(z * lengths, TEMPERATURE), expected, rtol=1e-12, atol=0)
    other = torch.cat([z[:images], z[images:].roll(1, 0)])
    assert (nt_xent(other, TEMPERATURE).mean() - expected.mean()).abs() > 1e-3, "this test needs views that differ"


def test_its_gradient_is_that_of_finite_differences_and_leaves_lengths_alone() -> None:
    z = _embeddings().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: nt_xent(z, TEMPERATURE).mean(), z)
    (gradient,) = torch.autograd.grad(nt_xent(z, TEMPERATURE).mean(), z)
    assert gradient.abs().max() > 1e-3
    assert (z * gradient).sum(1).abs().max() < 1e-14


def test_losses_of_some_views_are_theirs_among_all_with_gradients_to_all() -> None:
    z = _embeddings().requires_grad_()
    rows = torch.tensor([1, 4, 8, 11])
    torch.testing.assert_close(nt_xent(z, TEMPERATURE, rows), nt_xent(z, TEMPERATURE)[rows], rtol=1e-12, atol=0)
    (part,) = torch.autograd.grad(nt_xent(z, TEMPERATURE, rows).sum(), z)
    (whole,) = torch.autograd.grad(nt_xent(z, TEMPERATURE)[rows].sum(), z)
    torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-15)
    assert (part.abs().amax(1) > 0).all()


def test_similarities_are_in_single_precision_even_where_training_is_mixed() -> None:
    z = _embeddings(32, 16).float()
    expected = nt_xent(z.double(), 0.05).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(z, 0.05)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    low = z.bfloat16()
    torch.testing.assert_close(nt_xent(low, 0.05), nt_xent(low.double(), 0.05).float(), rtol=1e-5, atol=1e-5)
    assert nt_xent(z.double(), 0.05).dtype == torch.float64


def test_large_similarities_stay_finite() -> None:
    z = torch.eye(4).repeat(2, 1).requires_grad_()
    losses = nt_xent(z, 1e-3)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_spread_is_what_wang_and_isola_define() -> None:
    z = _embeddings()
    units = [each / each.norm() for each in z]
    images = len(z) // 2
    alignment = sum(float((units[i] - units[i + images]).square().sum()) for i in range(images)) / images
    pairs = [(i, j) for i in range(images) for j in range(i)]
    uniformity = math.log(
        sum(math.exp(-2 * float((units[i] - units[j]).square().sum())) for i, j in pairs) / len(pairs)
    )
    found = alignment_and_uniformity(z)
    assert found == {"alignment": pytest.approx(alignment), "uniformity": pytest.approx(uniformity)}


def test_collapse_shows_in_the_spread() -> None:
    assert alignment_and_uniformity(torch.ones(10, 3)) == {"alignment": 0, "uniformity": 0}
    far = alignment_and_uniformity(
        torch.nn.functional.normalize(torch.randn(400, 32, generator=torch.Generator().manual_seed(0)))
    )
    assert far["alignment"] == pytest.approx(2, abs=0.1)
    assert far["uniformity"] < -3.5
