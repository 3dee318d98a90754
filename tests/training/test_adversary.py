"""Learning against a discriminator: the reversed gradient, its ramp, the losses and what the discriminator reads."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.discriminator import Discriminator, domain_loss
from tlbench.training.adaptation.gradient_reversal import reverse_gradient
from tlbench.training.adaptation.information_maximization import certainty_weights
from tlbench.training.adaptation.multilinear_conditioning import MultilinearConditioning


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _strength(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_forward_nothing_changes_by_a_bit_and_backward_the_gradient_is_turned_round() -> None:
    z, upstream = _draw(5, 3).requires_grad_(), _draw(5, 3, seed=1)
    reversed_ = reverse_gradient(z, _strength(0.7))
    assert torch.equal(reversed_, z)
    (gradient,) = torch.autograd.grad(reversed_, z, upstream)
    assert torch.equal(gradient, -0.7 * upstream)


def test_the_gradient_keeps_the_type_of_the_features() -> None:
    z = _draw(2, 2).bfloat16().requires_grad_()
    (gradient,) = torch.autograd.grad(reverse_gradient(z, torch.tensor(0.5)).sum(), z)
    assert gradient.dtype == torch.bfloat16
    assert torch.equal(gradient, torch.full((2, 2), -0.5, dtype=torch.bfloat16))


def test_a_new_strength_compiles_nothing_anew() -> None:
    counted = 0

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        nonlocal counted
        counted += 1
        return graph.forward

    step = torch.compile(lambda z, strength: reverse_gradient(z * 2, strength).sum(), backend=count)
    z = _draw(3, 2).requires_grad_()
    for value in (0.1, 0.2, 0.9):
        (gradient,) = torch.autograd.grad(step(z, _strength(value)), z)
        torch.testing.assert_close(gradient, torch.full((3, 2), -2 * value, dtype=torch.float64))
    assert counted == 1


def test_the_discriminator_learns_alike_at_any_strength_and_the_features_in_proportion() -> None:
    torch.manual_seed(0)
    encoder, reader = nn.Linear(4, 3).double(), Discriminator(3, 8, torch.Generator().manual_seed(0)).double()
    x = _draw(10, 4)
    own: dict[float | None, tuple[list[Tensor], list[Tensor]]] = {}
    for strength in (None, 0.25, 1.0):
        z = encoder(x)
        logits = reader(z if strength is None else reverse_gradient(z, _strength(strength)))
        grads = torch.autograd.grad(domain_loss(logits, 6), [*encoder.parameters(), *reader.parameters()])
        own[strength] = list(grads[:2]), list(grads[2:])
    for strength in (0.25, 1.0):
        for with_, without in zip(own[strength][1], own[None][1], strict=True):
            assert torch.equal(with_, without)
        for with_, without in zip(own[strength][0], own[None][0], strict=True):
            assert torch.equal(with_, -strength * without)
    assert own[None][0][0].abs().max() > 1e-3


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.0), (0.1, 0.46212), (1.0, 0.99991)])
def test_the_ramp_has_its_published_values(progress: float, expected: float) -> None:
    assert alignment_ramp(progress) == pytest.approx(expected, abs=5e-6)
    assert alignment_ramp(progress) == pytest.approx(2 / (1 + math.exp(-10 * progress)) - 1, abs=1e-15)


def test_the_ramp_rises_all_the_way() -> None:
    values = [alignment_ramp(step / 100) for step in range(101)]
    assert all(low < high for low, high in itertools.pairwise(values))


def test_the_domains_loss_is_half_of_each_domains_mean_binary_cross_entropy() -> None:
    logits = 3 * _draw(8)
    losses = binary_cross_entropy_with_logits(logits, (torch.arange(8) < 5).double(), reduction="none")
    torch.testing.assert_close(domain_loss(logits, 5), 0.5 * losses[:5].mean() + 0.5 * losses[5:].mean())
    assert domain_loss(torch.zeros(5), 1).item() == pytest.approx(math.log(2))
    weights = _draw(8, seed=1).exp()
    parts = [(losses[part] * weights[part]).sum() / weights[part].sum() for part in (slice(5), slice(5, 8))]
    torch.testing.assert_close(domain_loss(logits, 5, weights), sum(parts) / 2)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_the_domains_loss_of_extreme_logits_is_finite_with_its_gradients(size: float) -> None:
    logits = torch.full((2,), size, requires_grad=True)
    loss = domain_loss(logits, 1)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 5e3
    assert gradient.abs().sum() == 0.5


def test_a_discriminator_has_two_hidden_layers_under_batch_normalisation() -> None:
    reader = Discriminator(5, 16, torch.Generator().manual_seed(0))
    kinds = [type(layer) for layer in reader.layers]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert sum(p.numel() for p in reader.parameters()) == 5 * 16 + 16 + 32 + 16 * 16 + 16 + 32 + 16 + 1
    assert reader(torch.zeros(3, 5)).shape == (3,)
    again = Discriminator(5, 16, torch.Generator().manual_seed(0))
    assert all(torch.equal(p, q) for p, q in zip(reader.parameters(), again.parameters(), strict=True))


def test_of_two_samples_of_one_distribution_fresh_losses_cannot_stay_below_a_coins() -> None:
    """A discriminator trained on fresh batches that are alike ends near ln 2, never clearly below it."""
    generator = torch.Generator().manual_seed(0)
    reader = Discriminator(4, 32, generator)
    optimizer = torch.optim.Adam(reader.parameters(), lr=1e-3)
    fresh = []
    for _ in range(300):
        z = torch.randn(64, 4, generator=generator)
        loss = domain_loss(reader(z), 32)  # before the step, so of examples not yet learnt from
        fresh.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    late = torch.tensor(fresh[100:])
    assert late.mean() > math.log(2) - 2 * late.std() / len(late) ** 0.5
    assert late.mean() < math.log(2) + 0.05


def test_conditioned_features_are_an_outer_product_that_lets_gradients_to_the_features_alone() -> None:
    z, p = _draw(3, 4).requires_grad_(), _draw(3, 2, seed=1).softmax(1)
    joined = MultilinearConditioning(4, 2, torch.Generator())
    assert joined.out_dim == 8
    assert not list(joined.parameters())
    for row, features, probabilities in zip(joined(z, p), z, p, strict=True):
        torch.testing.assert_close(row, torch.outer(probabilities, features).flatten())


def test_a_wide_outer_product_is_projected_so_that_its_products_keep_their_mean() -> None:
    z, p = _draw(2, 1000), 5 * _draw(2, 10, seed=1)
    exact = (z @ z.T) * (p @ p.T)  # products of the outer products
    found = []
    for seed in range(60):
        joined = MultilinearConditioning(1000, 10, torch.Generator().manual_seed(seed)).double()
        assert joined.out_dim == 1024
        q = joined(z, p)
        found.append(q @ q.T)
    products = torch.stack(found)
    error = products.std(0) / len(found) ** 0.5
    assert ((products.mean(0) - exact).abs() < 4 * error).all()
    assert (exact.diagonal() > 20 * error.diagonal()).all()
    assert not list(joined.parameters())


def test_the_certain_count_twice() -> None:
    p = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4])
    torch.testing.assert_close(certainty_weights(p), torch.tensor([2.0, 1.25]))
