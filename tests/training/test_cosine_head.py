"""Closed forms of scaled cosines, as logits and as a head."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from tlbench.training.fewshot.cosine_head import CosineHead, cosine_logits


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_logits_are_scaled_cosines() -> None:
    z, centres = _draw(3, 11, 8), _draw(3, 5, 8, seed=1)
    expected = 7 * cosine_similarity(z[:, :, None], centres[:, None], dim=-1)
    torch.testing.assert_close(cosine_logits(z, centres, 7.0), expected)


def test_lengths_do_not_matter() -> None:
    z, centres = _draw(11, 8), _draw(5, 8, seed=1)
    lengths, sizes = _draw(11, 1, seed=2).exp(), _draw(5, 1, seed=3).exp()
    torch.testing.assert_close(cosine_logits(z * lengths, centres * sizes, 10.0), cosine_logits(z, centres, 10.0))


def test_no_feature_at_all_is_no_cosine() -> None:
    assert (cosine_logits(torch.zeros(2, 8), torch.randn(5, 8), 10.0) == 0).all()


def test_they_are_computed_in_single_precision_at_least() -> None:
    z, centres = _draw(11, 8).float(), _draw(5, 8, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        low = cosine_logits(z, centres, 10.0)
    assert torch.equal(low, cosine_logits(z, centres, 10.0))
    assert cosine_logits(z.bfloat16(), centres, 10.0).dtype == torch.float32
    assert cosine_logits(z.double(), centres.double(), 10.0).dtype == torch.float64


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_gradient_of_a_head_is_the_closed_form(scale: float) -> None:
    """With respect to w_k: scale / n * sum_i (p_ik - y_ik) (x_i - cos_ik w_k / |w_k|) / |w_k|, x_i of length 1."""
    head = CosineHead(8, 5, scale, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        head.weight.mul_(3)
    z, y = _draw(20, 8), torch.arange(20) % 5
    logits = head(z)
    cross_entropy(logits, y).backward()
    x = z / z.norm(dim=1, keepdim=True)
    w = head.weight.detach()
    error = (logits.softmax(1) - torch.eye(5, dtype=torch.float64)[y]).detach()
    length = w.norm(dim=1)
    for k in range(5):
        cosines = x @ w[k] / length[k]
        expected = (error[:, k, None] * (x - cosines[:, None] * w[k] / length[k])).sum(0) * scale / 20 / length[k]
        torch.testing.assert_close(head.weight.grad[k], expected)
    torch.testing.assert_close((head.weight.grad * w).sum(1), torch.zeros(5, dtype=torch.float64))


def test_a_head_starts_at_directions_of_length_one_from_its_generator() -> None:
    first, again, other = (CosineHead(8, 5, 10.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    torch.testing.assert_close(first.weight.norm(dim=1), torch.ones(5))
