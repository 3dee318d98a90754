"""Maximum mean discrepancy: its estimates against sums over all samples, closed forms and a reference library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tlbench.training.adaptation import mmd
from tlbench.training.adaptation.mmd import gaussian_kernels, probability_kernel, squared_distances, squared_mmd

KERNELS = [1, 3, 5]


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    """Two samples (n, D) and (m, D) of different size and place."""
    return _draw(7, 4), 0.5 + 1.5 * _draw(5, 4, seed=1)


def _loss(source: Tensor, target: Tensor, kernels: int = 5, unbiased: bool = True) -> Tensor:
    kernel = gaussian_kernels(squared_distances(torch.cat([source, target])), kernels)
    return squared_mmd(kernel, len(source), unbiased)


def _by_loops(source: Tensor, target: Tensor, k: Callable[[Tensor, Tensor], float], unbiased: bool) -> float:
    total = 0.0
    for sample in (source, target):
        rows = range(len(sample))
        pairs = [(i, j) for i in rows for j in rows if i != j or not unbiased]
        total += sum(k(sample[i], sample[j]) for i, j in pairs) / len(pairs)
    return total - 2 * sum(k(x, y) for x in source for y in target) / (len(source) * len(target))


def _bandwidth(source: Tensor, target: Tensor) -> float:
    """The mean squared distance of two different rows."""
    rows = torch.cat([source, target])
    return torch.pdist(rows).square().mean().item()


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("kernels", KERNELS)
def test_it_is_the_sum_over_pairs_written_out(samples: tuple[Tensor, Tensor], kernels: int, unbiased: bool) -> None:
    mean = _bandwidth(*samples)
    powers = {1: [-1], 3: [-2, -1, 0], 5: [-3, -2, -1, 0, 1]}[kernels]

    def k(x: Tensor, y: Tensor) -> float:
        d2 = (x - y).square().sum().item()
        return sum(math.exp(-d2 / (2 * 2.0**u * mean)) for u in powers)

    assert _loss(*samples, kernels, unbiased).item() == pytest.approx(_by_loops(*samples, k, unbiased), abs=1e-13)


def test_five_kernels_are_five_on_the_diagonal_and_the_widths_are_those_of_the_authors_code() -> None:
    """Their bandwidth b is the mean squared distance over 2^(5 // 2), then 2^i times that, in exp(-d^2 / b)."""
    z = _draw(9, 3)
    d2 = torch.cdist(z, z).square()
    first = d2.sum() / (81 - 9) / 2**2
    expected = sum(torch.exp(-d2 / (first * 2**i)) for i in range(5))
    torch.testing.assert_close(gaussian_kernels(squared_distances(z), 5), expected)
    assert torch.equal(gaussian_kernels(squared_distances(z), 5).diagonal(), torch.full((9,), 5.0).double())


def test_probabilities_have_one_kernel_of_a_fixed_width() -> None:
    p = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]).double()
    expected = [math.exp(-d2 / 1.68) for d2 in (0, 2, 0.5)]
    assert probability_kernel(squared_distances(p))[0].tolist() == pytest.approx(expected)


def test_over_all_samples_of_two_points_it_is_in_the_mean_the_distance_of_the_distributions() -> None:
    """Uniform on two points each: of samples of two there are sixteen, and the population's value is a finite sum."""
    p, q = torch.tensor([[0.0, 0.3], [1.0, -0.5]]).double(), torch.tensor([[0.4, 0.9], [2.0, 0.1]]).double()

    def k(x: Tensor, y: Tensor) -> float:
        return math.exp(-(x - y).square().sum().item() / 2)

    expected = _by_loops(p, q, k, unbiased=False)
    estimates: dict[bool, list[float]] = {True: [], False: []}
    for rows in itertools.product([0, 1], repeat=4):
        z = torch.cat([p[list(rows[:2])], q[list(rows[2:])]])
        for unbiased, found in estimates.items():
            found.append(squared_mmd((squared_distances(z) / -2).exp(), 2, unbiased).item())
    assert len(estimates[True]) == 16
    assert sum(estimates[True]) / 16 == pytest.approx(expected, abs=1e-15)
    assert sum(estimates[False]) / 16 > expected + 0.1


@pytest.mark.parametrize("kernels", KERNELS)
def test_of_a_sample_and_itself(samples: tuple[Tensor, Tensor], kernels: int) -> None:
    """The biased estimate is zero; the unbiased one is -(2 / n) (number of kernels - their mean off the diagonal)."""
    sample, n = samples[0], len(samples[0])
    assert _loss(sample, sample, kernels, unbiased=False).item() == pytest.approx(0, abs=1e-15)
    kernel = gaussian_kernels(squared_distances(torch.cat([sample, sample])), kernels)[:n, :n]
    off = (kernel.sum() - kernel.trace()) / (n * (n - 1))
    assert _loss(sample, sample, kernels).item() == pytest.approx(-2 / n * (kernels - off.item()), abs=1e-14)
    assert _loss(sample, sample, kernels) < -0.05


def test_of_two_gaussians_it_is_the_closed_form() -> None:
    """MMD^2 = 2 (v / (v + 2 s^2))^(d/2) (1 - exp(-||difference of means||^2 / (2 (v + 2 s^2)))), v the kernel's."""
    d, s, v, count = 3, 0.8, 1.5, 1500
    shift = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    z = torch.cat([s * _draw(count, d), shift + s * _draw(count, d, seed=1)])
    spread = v + 2 * s * s
    expected = 2 * (v / spread) ** (d / 2) * (1 - math.exp(-shift.square().sum().item() / (2 * spread)))
    found = squared_mmd((squared_distances(z) / (-2 * v)).exp(), count).item()
    assert found == pytest.approx(expected, rel=0.06)


def test_with_the_linear_kernel_it_is_the_squared_distance_of_the_means(samples: tuple[Tensor, Tensor]) -> None:
    z = torch.cat(samples)
    expected = (samples[0].mean(0) - samples[1].mean(0)).square().sum()
    torch.testing.assert_close(squared_mmd(z @ z.T, len(samples[0]), unbiased=False), expected)


@pytest.mark.parametrize("unbiased", [True, False])
def test_nothing_but_the_distances_of_rows_counts(samples: tuple[Tensor, Tensor], unbiased: bool) -> None:
    source, target = samples
    expected = _loss(source, target, unbiased=unbiased)
    turn, _ = torch.linalg.qr(_draw(4, 4, seed=3))
    for changed in (
        _loss(target, source, unbiased=unbiased),
        _loss(source + 100, target + 100, unbiased=unbiased),
        _loss(source @ turn, target @ turn, unbiased=unbiased),
        _loss(7 * source, 7 * target, unbiased=unbiased),
        _loss(source.flip(0), target.flip(0), unbiased=unbiased),
    ):
        torch.testing.assert_close(changed, expected, rtol=0, atol=1e-12)


def test_in_single_precision_far_from_zero_distances_stay_right_and_none_is_negative() -> None:
    z = _draw(64, 256) * 0.1
    z[32:] = z[:32] + 1e-5 * _draw(32, 256, seed=1)
    exact = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").square()
    found = squared_distances((z + 100).float())
    assert found.dtype == torch.float32
    assert (found >= 0).all()
    assert torch.equal(found.diagonal(), torch.zeros(64))
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-3)


def test_in_blocks_and_pieces_it_is_the_same(samples: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [each.clone().requires_grad_() for each in samples]
    _loss(*whole).backward()
    monkeypatch.setattr(mmd, "_BLOCK", 5)
    monkeypatch.setattr(mmd, "_CACHED", 24)
    pieces = [each.clone().requires_grad_() for each in samples]
    loss = _loss(*pieces)
    loss.backward()
    torch.testing.assert_close(loss, _loss(*whole), rtol=0, atol=1e-15)
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_in_mixed_precision_it_is_computed_in_single(dtype: torch.dtype) -> None:
    z = _draw(12, 64).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = squared_mmd(gaussian_kernels(squared_distances(z), 5), 6)
    loss.backward()
    assert loss.dtype == torch.float32
    assert z.grad is not None
    assert z.grad.dtype == dtype
    exact = squared_mmd(gaussian_kernels(squared_distances(z.detach().double()), 5), 6)
    torch.testing.assert_close(loss.double(), exact, rtol=0, atol=1e-6)


def test_gradients_are_those_of_finite_differences_with_the_widths_held(samples: tuple[Tensor, Tensor]) -> None:
    z = torch.cat(samples).requires_grad_()
    assert torch.autograd.gradcheck(squared_distances, (z,))
    mean = _bandwidth(*samples)

    def held(rows: Tensor) -> Tensor:
        d2 = squared_distances(rows)
        return sum((-d2 / (2 * 2.0**u * mean)).exp() for u in range(-3, 2))

    (own,) = torch.autograd.grad(squared_mmd(gaussian_kernels(squared_distances(z), 5), 7), z)
    (expected,) = torch.autograd.grad(squared_mmd(held(z), 7), z)
    torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-12)
    # Through widths that follow the scale of the rows, no change of scale would matter.
    assert (own * (z - z.mean(0))).sum().abs() > 1e-2


def test_in_many_dimensions_it_still_moves_the_features() -> None:
    source, target = _draw(32, 2048).float().requires_grad_(), (0.3 + _draw(32, 2048, seed=1)).float()
    loss = _loss(source, target)
    (gradient,) = torch.autograd.grad(loss, source)
    assert loss > 0.01
    assert gradient.norm(dim=1).min() > 1e-6
    assert (gradient.sum(0) @ (source.mean(0) - target.mean(0)).detach()) > 0


def test_rows_that_are_all_alike_give_no_loss_and_no_gradient() -> None:
    """As logits of a head that starts at zero do."""
    z = torch.full((6, 3), 0.5, requires_grad=True)
    loss = squared_mmd(gaussian_kernels(squared_distances(z), 5), 2)
    loss.backward()
    assert loss.item() == 0
    assert z.grad is not None
    assert torch.equal(z.grad, torch.zeros(6, 3))


@pytest.mark.parametrize("kernels", KERNELS)
def test_it_is_as_many_times_pytorch_adapts_mean_as_there_are_kernels(
    samples: tuple[Tensor, Tensor], kernels: int
) -> None:
    layers = pytest.importorskip("pytorch_adapt.layers")
    powers = {1: [-1], 3: [-2, -1, 0], 5: [-3, -2, -1, 0, 1]}[kernels]
    scales = torch.tensor([1 / (2 * 2.0**u) for u in powers], dtype=torch.float64)
    own, its = ([z.clone().requires_grad_() for z in samples] for _ in range(2))
    theirs = layers.MMDLoss(scales, mmd_type="quadratic", bandwidth=_bandwidth(*samples))(*its)
    ours = _loss(own[0], own[1], kernels)
    theirs = kernels * theirs
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(ours, own), torch.autograd.grad(theirs, its), rtol=1e-7, atol=1e-9)


def test_the_product_of_two_layers_kernels_is_pytorch_adapts_joint_one(samples: tuple[Tensor, Tensor]) -> None:
    layers = pytest.importorskip("pytorch_adapt.layers")
    others = [z.square()[:, :2] for z in samples]
    scale = torch.tensor([1.0], dtype=torch.float64)
    loss = layers.MMDLoss(scale, mmd_type="quadratic", bandwidth=2.0)
    theirs = loss([samples[0], others[0]], [samples[1], others[1]])
    kernel = (squared_distances(torch.cat(samples)) / -2).exp() * (squared_distances(torch.cat(others)) / -2).exp()
    torch.testing.assert_close(squared_mmd(kernel, 7), theirs, rtol=1e-9, atol=1e-12)
