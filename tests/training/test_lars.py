"""LARS against steps made by hand, plain momentum, and lightly where both are the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tlbench.training.lars import LARS
from tlbench.training.parameter_groups import make_optimizer, parameter_groups, scale_rates

LR, MOMENTUM, DECAY, TRUST = 0.4, 0.9, 0.02, 1e-3
SHAPES = ((3, 2), (4, 3, 2, 2), (5,), ())


def _tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def _steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], rates: list[float]) -> None:
    for place, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for p, gradient in zip(parameters, _tensors(10 + place), strict=True):
            p.grad = gradient
        optimizer.step()


def test_steps_are_those_of_the_closed_form() -> None:
    """At changing rates, which are part of what momentum remembers."""
    parameters = [nn.Parameter(w) for w in _tensors(0)]
    rates = [LR, 2 * LR, 0.1]
    _steps(LARS(parameters, LR, MOMENTUM, DECAY, TRUST), parameters, rates)
    for place, start in enumerate(_tensors(0)):
        w, v = start.clone(), torch.zeros_like(start)
        for step, rate in enumerate(rates):
            g = _tensors(10 + step)[place]
            if w.ndim > 1:
                g = g + DECAY * w
                g = g * TRUST * w.square().sum().sqrt() / g.square().sum().sqrt()
            v = MOMENTUM * v + rate * g
            w = w - v
        torch.testing.assert_close(parameters[place].detach(), w, rtol=1e-12, atol=1e-14)


def test_it_is_the_norm_of_the_decayed_gradient_that_counts() -> None:
    """A gradient that decay cancels by half: |g + decay w| is a third of |g| + decay |w|."""
    w = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    w.grad = -2 * 0.1 * w.detach()
    LARS([w], lr=1.0, momentum=0.0, weight_decay=0.1, trust=0.5).step()
    torch.testing.assert_close(w.detach(), torch.tensor([[4.5, 6.0]], dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_first_step_is_as_long_as_rate_trust_and_tensor_say_whatever_the_gradient() -> None:
    for scale in (1e-6, 1.0, 1e6):
        parameters = [nn.Parameter(w) for w in _tensors(0)]
        for p, gradient in zip(parameters, _tensors(1), strict=True):
            p.grad = scale * gradient
        LARS(parameters, LR, MOMENTUM, 0.0, TRUST).step()
        for p, start in list(zip(parameters, _tensors(0), strict=True))[:2]:
            assert (p - start).norm().item() == pytest.approx(LR * TRUST * start.norm().item(), rel=1e-9)


def test_tensors_of_one_dimension_have_plain_momentum_and_no_decay() -> None:
    ours, plain = [nn.Parameter(w) for w in _tensors(0)], [nn.Parameter(w) for w in _tensors(0)]
    _steps(LARS(ours, LR, MOMENTUM, 0.5, TRUST), ours, [LR] * 3)
    _steps(torch.optim.SGD(plain, LR, MOMENTUM), plain, [LR] * 3)
    for mine, other in list(zip(ours, plain, strict=True))[2:]:
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
    assert all((mine - other).abs().max() > 0.1 for mine, other in list(zip(ours, plain, strict=True))[:2])


def test_it_equals_lightly_where_decay_is_next_to_nothing() -> None:
    """Where decay is 0 lightly does not adapt at all; else the norms differ."""
    theirs_of = pytest.importorskip("lightly.utils.lars").LARS
    ours, theirs = [nn.Parameter(w) for w in _tensors(0)], [nn.Parameter(w) for w in _tensors(0)]
    _steps(LARS(ours, LR, MOMENTUM, 1e-12, TRUST), ours, [LR] * 4)
    matrices, vectors = {"params": theirs[:2], "weight_decay": 1e-12}, {"params": theirs[2:], "weight_decay": 0.0}
    _steps(theirs_of([matrices, vectors], LR, MOMENTUM, trust_coefficient=TRUST), theirs, [LR] * 4)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-9)


def test_where_a_norm_is_zero_nothing_is_scaled() -> None:
    empty, still = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    empty.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([empty, still], lr=0.5, momentum=0.0).step()
    assert torch.equal(empty.detach(), torch.full((2, 2), -0.5))
    assert torch.equal(still.detach(), torch.ones(2, 2))


def test_what_has_no_gradient_stays_even_after_it_has_moved() -> None:
    moved, idle = (nn.Parameter(w) for w in _tensors(0)[:2])
    optimizer = LARS([moved, idle], LR, MOMENTUM, DECAY)
    for p in (moved, idle):
        p.grad = torch.ones_like(p)
    optimizer.step()
    before = idle.detach().clone(), moved.detach().clone()
    idle.grad = None
    optimizer.step()
    assert torch.equal(idle.detach(), before[0])
    assert not torch.equal(moved.detach(), before[1])


def test_it_continues_from_its_state_bit_for_bit() -> None:
    straight = [nn.Parameter(w) for w in _tensors(0)]
    optimizer = LARS(straight, LR, MOMENTUM, DECAY)
    _steps(optimizer, straight, [LR] * 2)
    kept, weights = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in straight]
    _steps(optimizer, straight, [LR] * 2)
    again = [nn.Parameter(w) for w in weights]
    other = LARS(again, LR, MOMENTUM, DECAY)
    other.load_state_dict(kept)
    _steps(other, again, [LR] * 2)
    assert all(torch.equal(a, b) for a, b in zip(straight, again, strict=True))


def test_it_takes_groups_whose_rates_are_set_together() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = make_optimizer("lars", parameter_groups([(model.parameters(), 0.5)], 0.1))
    assert isinstance(optimizer, LARS)
    assert [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups] == [(2, 0.1), (4, 0.0)]
    scale_rates(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.05])
