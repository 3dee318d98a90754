"""The inner loop against closed forms, finite differences and sinusoids."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tlbench.training.fewshot.inner_loop import (
    Gradient,
    NamedTensors,
    Order,
    autograd_gradient,
    func_gradient,
    gradient_descent,
    multi_step_loss_weights,
)

GRADIENTS = pytest.mark.parametrize("gradient", [autograd_gradient, func_gradient], ids=["autograd", "transform"])
D = 4
DOUBLE = torch.float64


def _last(*args: object, **more: object) -> NamedTensors:
    return deque(gradient_descent(*args, **more), maxlen=1).pop()  # type: ignore[arg-type]


def _quadratics() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Hessians A and B, the optimum of the support's loss, that of the query's, and a start."""
    torch.manual_seed(0)
    a, b = (m @ m.T / D + torch.eye(D, dtype=DOUBLE) for m in torch.randn(2, D, D, dtype=DOUBLE))
    return a, b, *torch.randn(3, D, dtype=DOUBLE)


def _quadratic(hessian: Tensor, optimum: Tensor) -> Callable[[NamedTensors], Tensor]:
    return lambda values: (values["x"] - optimum) @ hessian @ (values["x"] - optimum) / 2


@GRADIENTS
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("order", [1, 2])
def test_gradient_of_quadratics(steps: int, order: Order, gradient: Gradient) -> None:
    a, b, s, t, start = _quadratics()
    rates = torch.tensor([[0.3], [0.1], [0.2]], dtype=DOUBLE)[:steps]
    x = start.clone().requires_grad_()
    end = _last(_quadratic(a, s), {"x": x}, rates, order, gradient)["x"]
    expected, power = start, torch.eye(D, dtype=DOUBLE)
    for rate in rates:
        expected = expected - rate * (a @ (expected - s))
        power = power @ (torch.eye(D, dtype=DOUBLE) - rate * a)
    torch.testing.assert_close(end, expected, rtol=1e-12, atol=1e-12)
    (found,) = torch.autograd.grad(_quadratic(b, t)({"x": end}), x)
    torch.testing.assert_close(
        found, (power if order == 2 else torch.eye(D, dtype=DOUBLE)) @ (b @ (expected - t)), rtol=1e-12, atol=1e-12
    )
    assert torch.equal(x, start)


@GRADIENTS
@pytest.mark.parametrize("order", [1, 2])
def test_rates_have_gradients(order: Order, gradient: Gradient) -> None:
    """Under order 1, too: the loss after one step falls along the rate by the product of both gradients."""
    a, b, s, t, start = _quadratics()
    rates = torch.tensor([[0.3]], dtype=DOUBLE, requires_grad=True)
    end = _last(_quadratic(a, s), {"x": start.clone().requires_grad_()}, rates, order, gradient)["x"]
    (found,) = torch.autograd.grad(_quadratic(b, t)({"x": end}), rates)
    expected = -(a @ (start - s)) @ (b @ (end - t))
    torch.testing.assert_close(found.squeeze(), expected, rtol=1e-12, atol=1e-12)


def test_every_tensor_has_its_own_rate() -> None:
    start = {name: torch.zeros(2, requires_grad=True) for name in ("x", "y")}
    rates = torch.tensor([[0.1, 0.2], [0.0, 1.0]])
    first, then = list(gradient_descent(lambda v: (v["x"] + v["y"]).sum(), start, rates, 1))[1:]
    assert [first["x"][0].item(), first["y"][0].item()] == pytest.approx([-0.1, -0.2])
    assert [then["x"][0].item(), then["y"][0].item()] == pytest.approx([-0.1, -1.2])


def test_what_the_objective_does_not_use_stays() -> None:
    start = {name: torch.ones(2, requires_grad=True) for name in ("used", "unused")}
    end = _last(lambda v: v["used"].sum(), start, torch.full((2, 2), 0.5), 2)
    assert torch.equal(end["unused"], start["unused"])
    assert end["used"].tolist() == [0, 0]


def _net() -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    return net, dict(net.named_parameters())


def _loss(net: nn.Module, x: Tensor, y: Tensor) -> Callable[[NamedTensors], Tensor]:
    return lambda values: (functional_call(net, dict(values), (x,)) - y).square().mean()


def _query_loss(
    net: nn.Module, start: NamedTensors, rates: Tensor, order: Order, gradient: Gradient = autograd_gradient
) -> Tensor:
    x, y, q, t = torch.linspace(-1, 1, 20, dtype=DOUBLE).view(4, 5, 1).sin()
    return _loss(net, q, t)(_last(_loss(net, x, y), start, rates, order, gradient))


def test_finite_differences() -> None:
    net, start = _net()
    rates = torch.full((2, len(start)), 0.4, dtype=DOUBLE, requires_grad=True)
    found = torch.autograd.grad(_query_loss(net, start, rates, 2), [*start.values(), rates])
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        way = [torch.randn(each.shape, generator=generator, dtype=DOUBLE) for each in found]
        ends = []
        for sign in (1e-5, -1e-5):
            moved = {n: (v + sign * w).detach().requires_grad_() for (n, v), w in zip(start.items(), way, strict=False)}
            ends.append(_query_loss(net, moved, (rates + sign * way[-1]).detach(), 2).item())
        slope = sum((a * b).sum() for a, b in zip(found, way, strict=True)).item()
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7)


def test_orders_differ_where_the_loss_is_curved() -> None:
    net, start = _net()
    rates = torch.full((2, len(start)), 0.4, dtype=DOUBLE)
    first, second = (
        torch.cat([g.flatten() for g in torch.autograd.grad(_query_loss(net, start, rates, order), [*start.values()])])
        for order in (1, 2)
    )
    assert (first - second).norm() > 0.05 * second.norm()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("gradient", [autograd_gradient, func_gradient])
def test_a_rate_of_zero_is_no_step(order: Order, gradient: Gradient) -> None:
    net, start = _net()
    rates = torch.zeros(3, len(start), dtype=DOUBLE)
    plain = torch.autograd.grad(_query_loss(net, start, rates[:0], order, gradient), list(start.values()))
    found = torch.autograd.grad(_query_loss(net, start, rates, order, gradient), list(start.values()))
    torch.testing.assert_close(found, plain, rtol=0, atol=0)


def test_order_1_keeps_no_graph_of_the_steps() -> None:
    net, start = _net()
    given = {name: value.detach().requires_grad_() for name, value in start.items()}
    end = _last(_loss(net, torch.ones(1, 1).double(), torch.ones(1, 1).double()), given, torch.full((1, 6), 0.1), 1)
    reached, todo = set(), [end["0.weight"].grad_fn]
    while todo:
        node = todo.pop()
        reached.add(type(node).__name__)
        todo += [following for following, _ in node.next_functions if following is not None]
    assert reached == {"SubBackward0", "AccumulateGrad"}


def test_sinusoids_are_learned_step_by_step() -> None:
    """Finn et al. 2017, section 5.1: after training, queries of a new sinusoid are told the better the more steps."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    start, generator = dict(net.named_parameters()), torch.Generator().manual_seed(1)

    def draw(count: int) -> tuple[Tensor, ...]:
        height, phase = torch.rand(2, count, 1, 1, generator=generator) * torch.tensor([4.0, math.pi]).view(2, 1, 1, 1)
        x = torch.rand(count, 20, 1, generator=generator) * 10 - 5
        y = (height + 0.5) * torch.sin(x + phase)
        return x[:, :10], y[:, :10], x[:, 10:], y[:, 10:]

    def losses(values: NamedTensors, steps: int, *parts: Tensor) -> Tensor:
        def one(x: Tensor, y: Tensor, q: Tensor, t: Tensor) -> Tensor:
            return _loss(net, q, t)(_last(_loss(net, x, y), values, torch.full((steps, 6), 0.02), 2, func_gradient))

        return vmap(one)(*parts)

    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        losses(start, 1, *draw(16)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        parts = draw(200)
        found = [losses(start, steps, *parts).mean().item() for steps in (0, 1, 3, 10)]
    assert found == sorted(found, reverse=True)
    assert found[1] < 0.75 * found[0]


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_weights_move_to_the_last_step(steps: int) -> None:
    assert multi_step_loss_weights(steps, 0.0)[1:] == pytest.approx([1 / steps] * steps)
    previous = 0.0
    for progress in (0.0, 0.3, 0.9, 1.0, 2.0):
        weights = multi_step_loss_weights(steps, progress)
        assert len(weights) == steps + 1
        assert weights[0] == 0
        assert sum(weights) == pytest.approx(1, abs=1e-12)
        assert weights[-1] >= previous
        previous = weights[-1]
    assert weights == [0.0] * steps + [1.0]


def test_without_steps_the_start_counts() -> None:
    assert multi_step_loss_weights(0, 0.0) == [1.0]
