"""MAML against the library higher, finite differences, and what must not depend on how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_nets import small_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone, BodyParts
from tlbench.core.info import BackboneInfo
from tlbench.methods.maml import Config, GradientDescentLearner, MetaInitialisation
from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.fewshot.episodic_loop import EpisodeBatch, EpisodicTraining, train_on_episodes
from tlbench.training.fewshot.inner_loop import multi_step_loss_weights

WAYS, SHOTS, QUERIES, EPISODES = 3, 2, 4, 3
RATE = 0.375  # which single precision has exactly
DOUBLE = torch.float64
Parts = tuple[Tensor, Tensor, Tensor, Tensor]

BODIES: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Flatten,
    "tanh": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten()),
    "normalised": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten()
    ),
}


def _backbone(name: str) -> Backbone:
    torch.manual_seed(0)
    info = BackboneInfo(name, "none", "image", name, {"weights": {"kind": "random"}})
    body = BODIES[name]()
    return Backbone(info, nn.Identity(), body, body(torch.zeros(2, 1, 6, 6)).shape[1], BodyParts([[""]], []))


def _solver(name: str | Backbone = "normalised", **params: Any) -> GradientDescentLearner:
    backbone = _backbone(name) if isinstance(name, str) else name
    cfg = Config(**{"inner_lr": RATE, **params})
    return GradientDescentLearner(
        MetaInitialisation(backbone, WAYS, cfg, torch.Generator().manual_seed(0)).double().train(), cfg
    )


def _episodes(episodes: int = EPISODES) -> Parts:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(WAYS).repeat(episodes, SHOTS)
    truth = torch.arange(WAYS).repeat(episodes, QUERIES)
    patterns = torch.randn(episodes, WAYS, 1, 6, 6, generator=generator, dtype=DOUBLE)
    support, query = (
        torch.stack([p[y] for p, y in zip(patterns, labels_of, strict=True)]) for labels_of in (labels, truth)
    )
    noise = [torch.randn(each.shape, generator=generator, dtype=DOUBLE) for each in (support, query)]
    return support + noise[0], labels, query + noise[1], truth


def _losses(solver: GradientDescentLearner, parts: Parts, steps: int) -> Tensor:
    pieces = [solver.losses(*piece, WAYS, multi_step_loss_weights(steps, 1.0)) for piece in solver.chunks(*parts)]
    return torch.cat(pieces)


def _gradient(solver: GradientDescentLearner, parts: Parts, steps: int) -> Tensor:
    found = torch.autograd.grad(_losses(solver, parts, steps).mean(), list(solver.module.parameters()))
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_gradient_equals_that_of_higher(name: str, order: int, steps: int) -> None:
    higher = pytest.importorskip("higher")
    solver, parts = _solver(name, order=order, inner_steps=steps), _episodes()
    net = MetaInitialisation(_backbone(name), WAYS, Config(), torch.Generator().manual_seed(0)).double().network.train()
    inner, found = torch.optim.SGD(net.parameters(), lr=RATE), []
    for x, y, q, t in zip(*parts, strict=True):
        tracked = {"copy_initial_weights": False, "track_higher_grads": order == 2}
        with higher.innerloop_ctx(net, inner, **tracked) as (adapted, descent):
            for _ in range(steps):
                descent.step(cross_entropy(adapted(x), y))
            loss = cross_entropy(adapted(q), t)
            # Untracked, the derivatives at the end of the steps are the first-order form.
            at = list(net.parameters()) if order == 2 else list(adapted.parameters())
            found.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, at)]))
    expected = torch.stack(found).mean(0)
    torch.testing.assert_close(_gradient(solver, parts, steps), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["tanh", "normalised"])
@pytest.mark.parametrize("statistics", ["batch", "support"])
@pytest.mark.parametrize("order", [1, 2])
def test_episodes_at_once_give_what_they_give_one_by_one(name: str, statistics: str, order: int) -> None:
    parts, params = _episodes(), {"statistics": statistics, "order": order, "inner_steps": 2, "learn_rates": True}
    looped, together = _solver(name, **params), _solver(name, **params)
    together.vectorise(parts[0][0])
    assert [len(piece[0]) for piece in looped.chunks(*parts)] == [1] * EPISODES
    assert [len(piece[0]) for piece in together.chunks(*parts)] == [EPISODES]
    one, other = (_gradient(solver, parts, 2) for solver in (looped, together))
    assert (one - other).norm() < 1e-12 * one.norm()
    answers = [solver.classify(*parts[:3], WAYS) for solver in (looped, together)]
    torch.testing.assert_close(*answers, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", ["layer normalisation", "dropout"])
def test_episodes_stay_apart_where_it_would_be_wrong_together(case: str) -> None:
    layer = nn.LayerNorm([4, 4, 4]) if case == "layer normalisation" else nn.Dropout(0.5)
    backbone, parts = _backbone("tanh"), _episodes()
    backbone.body.insert(1, layer)  # type: ignore[operator]
    solver = _solver(backbone)
    solver.vectorise(parts[0][0])
    assert [len(piece[0]) for piece in solver.chunks(*parts)] == [1] * EPISODES
    assert torch.isfinite(_gradient(solver, parts, 1)).all()
    torch.testing.assert_close(*(solver.classify(*parts[:3], WAYS) for _ in range(2)), rtol=0, atol=0)


@pytest.mark.parametrize("statistics", ["batch", "support"])
def test_finite_differences(statistics: str) -> None:
    solver, parts = _solver(statistics=statistics, inner_steps=2, learn_rates=True), _episodes(2)
    parameters = list(solver.module.parameters())
    found = _gradient(solver, parts, 2)
    way = torch.randn(len(found), generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    start, ends = nn.utils.parameters_to_vector(parameters).detach(), []
    for sign in (1e-5, -1e-5):
        nn.utils.vector_to_parameters(start + sign * way, parameters)
        ends.append(_losses(solver, parts, 2).mean().item())
    assert (found @ way).item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_finite_differences_through_attention() -> None:
    """And through layer normalisation: a transformer, whose fast attention has no second derivative."""
    solver = _solver(small_net("vit"), inner_lr=0.05)
    generator = torch.Generator().manual_seed(0)
    support, query = torch.randint(0, 256, (2, 1, WAYS, 3, 32, 32), generator=generator, dtype=torch.uint8)
    parts = support, torch.arange(WAYS)[None], query, torch.arange(WAYS)[None]
    assert not solver.transductive
    parameters = list(solver.module.parameters())
    found = _gradient(solver, parts, 1)
    way = torch.randn(len(found), generator=generator, dtype=DOUBLE)
    start, ends = nn.utils.parameters_to_vector(parameters).detach(), []
    for sign in (1e-6, -1e-6):
        nn.utils.vector_to_parameters(start + sign * way, parameters)
        ends.append(_losses(solver, parts, 1).mean().item())
    assert (found @ way).item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("family", ["convnext", "resnet", "swin_v2", "vit"])
def test_any_family_has_second_derivatives(family: str) -> None:
    generator = torch.Generator().manual_seed(0)
    support, query = torch.randint(0, 256, (2, 1, WAYS, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.arange(WAYS)[None]
    parts = support, labels, query, labels
    solvers = [_solver(small_net(family), inner_lr=0.01, order=order, statistics="support") for order in (1, 2)]
    first, second = (_gradient(solver, parts, 1) for solver in solvers)
    assert torch.isfinite(second).all()
    assert (second - first).norm() > 1e-6 * second.norm()
    answers = [solvers[1].classify(support, labels, part, WAYS) for part in (query, query[:, :1])]
    torch.testing.assert_close(answers[1], answers[0][:, :1], rtol=1e-8, atol=1e-8)


def test_orders_differ() -> None:
    parts = _episodes()
    first, second = (_gradient(_solver(order=order), parts, 1) for order in (1, 2))
    assert (first - second).norm() > 0.05 * second.norm()


@pytest.mark.parametrize("order", [1, 2])
def test_without_steps_it_is_the_plain_gradient_of_the_queries(order: int) -> None:
    parts, solver = _episodes(), _solver(order=order)
    still = _solver(order=order, inner_lr=1e-300)
    net = _solver().module.network
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats = False
    loss = torch.stack([cross_entropy(net(q), t) for q, t in zip(parts[2], parts[3], strict=True)]).mean()
    plain = torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(net.parameters()))])
    for found in (_gradient(solver, parts, 0), _gradient(still, parts, 1)):
        torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("statistics", ["batch", "support"])
def test_solving_leaves_the_start_alone(statistics: str, together: bool) -> None:
    parts, solver = _episodes(), _solver(statistics=statistics, inner_steps=3)
    if together:
        solver.vectorise(parts[0][0])
    names = list(_backbone("normalised").state_dict())
    assert list(solver.module.network.backbone.state_dict()) == names
    before = {name: value.clone() for name, value in solver.module.state_dict().items()}
    answers = solver.classify(*parts[:3], WAYS)
    _losses(solver, parts, 3)
    assert not answers.requires_grad
    assert all(p.grad is None and p.requires_grad for p in solver.module.parameters())
    for name, value in solver.module.state_dict().items():
        assert torch.equal(value, before[name]), name
    torch.testing.assert_close(solver.classify(*parts[:3], WAYS), answers, rtol=0, atol=0)


def test_the_first_step_reaches_the_body() -> None:
    parts, solver = _episodes(1), _solver("tanh", order=1)
    x, y = parts[0][0], parts[1][0]
    network = solver.module.network
    slopes = torch.autograd.grad(cross_entropy(network(x), y), list(network.backbone.parameters()))
    assert all(slope.norm() > 1e-4 for slope in slopes)


def test_order_of_episodes_and_of_support_does_not_matter() -> None:
    parts, solver = _episodes(), _solver(inner_steps=2)
    losses = _losses(solver, parts, 2)
    others = _losses(solver, tuple(part.flip(0) for part in parts), 2)  # type: ignore[arg-type]
    torch.testing.assert_close(others.flip(0), losses, rtol=1e-12, atol=1e-12)
    turned = (parts[0].flip(1), parts[1].flip(1), *parts[2:])
    torch.testing.assert_close(_losses(solver, turned, 2), losses, rtol=1e-11, atol=1e-11)


def test_more_steps_tell_the_support_better() -> None:
    parts, told = _episodes(), []
    for steps in (1, 3, 10):
        logits = _solver(test_steps=steps).classify(parts[0], parts[1], parts[0], WAYS)
        told.append(cross_entropy(logits.flatten(0, 1), parts[1].flatten()).item())
    assert told == sorted(told, reverse=True)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("name", "statistics", "transductive"),
    [("normalised", "batch", True), ("normalised", "support", False), ("tanh", "batch", False)],
)
def test_transduction_is_declared(name: str, statistics: str, transductive: bool, together: bool) -> None:
    support, labels, query, _ = _episodes()
    solver = _solver(name, statistics=statistics)
    if together:
        solver.vectorise(support[0])
    assert solver.transductive == transductive
    whole = solver.classify(support, labels, query, WAYS)
    few = solver.classify(support, labels, query[:, :2], WAYS)
    changed = (whole[:, :2] - few).abs().max().item()
    assert changed > 1e-3 if transductive else changed < 1e-12


def test_fewer_ways_than_outputs_use_the_first_outputs() -> None:
    support, labels, query, _ = _episodes()
    solver = _solver("tanh")
    two = labels[0] < 2
    found = solver.classify(support[:, two], labels[:, two], query, 2)
    assert found.shape == (EPISODES, query.shape[1], 2)
    head = solver.module.network.head
    smaller = Config(inner_lr=RATE)
    start = MetaInitialisation(_backbone("tanh"), 2, smaller, torch.Generator()).double()
    start.network.head.weight.data, start.network.head.bias.data = head.weight.data[:2], head.bias.data[:2]
    expected = GradientDescentLearner(start, smaller).classify(support[:, two], labels[:, two], query, 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="outputs"):
        solver.classify(support, labels, query, WAYS + 1)


def test_losses_of_all_steps_are_weighed() -> None:
    """The loss is a mean of losses after each number of steps."""
    parts, solver = _episodes(), _solver(inner_steps=3)
    each = torch.stack([_losses(solver, parts, steps) for steps in (1, 2, 3)])
    weights = multi_step_loss_weights(3, 0.4)
    found = torch.cat([solver.losses(*piece, WAYS, weights) for piece in solver.chunks(*parts)])
    torch.testing.assert_close(found, torch.tensor(weights[1:], dtype=DOUBLE) @ each, rtol=1e-12, atol=1e-12)


def test_later_steps_have_the_rates_of_the_last() -> None:
    solver = _solver(inner_steps=2, learn_rates=True)
    rates = solver.module.rates
    rates.data[1] = 0.05
    assert torch.equal(solver.module.rates_of(4), rates[[0, 1, 1, 1]])
    assert rates.shape == (2, len(list(solver.module.network.parameters())))


def _fit(tmp_path: Path | None = None, **params: Any) -> tuple[GradientDescentLearner, Context]:
    method, ctx = registry.declaration("methods", "maml").load(), Context(random_root="maml-test", device=CPU)
    cfg = method.Config(**{"episodes": 8, "check_every": 4, "checks": 2, "per_step": 2, **params})
    return method.fit(fake_task("episodic").task, fake_backbone(), cfg, ctx), ctx


def test_rates_are_learned() -> None:
    fixed, learned = (_fit(learn_rates=each, inner_steps=2, lr=3e-3)[0] for each in (False, True))
    assert "rates" not in fixed.module.state_dict()
    assert torch.equal(fixed.module.rates, torch.full_like(fixed.module.rates, 0.1))
    # All but those of the convolutions' biases, which the normalisation behind them takes out again.
    assert (learned.module.rates != 0.1).float().mean() > 0.7
    assert learned.footprint().trainable == fixed.footprint().trainable + learned.module.rates.numel()


def test_gradients_are_clamped() -> None:
    """Adam does not feel a factor, but it does a gradient far below its epsilon."""
    given = torch.cat([p.flatten() for p in fake_backbone().parameters()])
    for clamp, moved in ((None, True), (1e-12, False)):
        backbone = _fit(clamp=clamp)[0].module.network.backbone
        change = (torch.cat([p.flatten() for p in backbone.parameters()]) - given).abs().max()
        assert (change > 1e-4) == moved


def test_schedules_of_the_rate() -> None:
    constant, cosine = (_fit(schedule=each)[1] for each in ("constant", "cosine"))
    assert constant.curves["train_loss"][-1] != cosine.curves["train_loss"][-1]


def test_training_episodes_have_the_ways_of_the_test() -> None:
    fake, seen = fake_task("episodic"), []
    assert "ways" not in Config.model_fields
    solver = GradientDescentLearner(MetaInitialisation(fake_backbone(), 2, Config(), torch.Generator()), Config())
    optimizer = torch.optim.Adam([{"params": list(solver.module.parameters()), "lr": 1e-3, "base_lr": 1e-3}])

    def backward(batch: EpisodeBatch) -> Tensor:
        seen.append((batch.ways, batch.done, len(batch.support)))
        return torch.zeros(())

    cfg, ctx = Config(episodes=10, check_every=5, checks=1), Context(random_root="c", device=CPU)
    training = EpisodicTraining(solver.module, solver, optimizer, backward, rate=lambda done: 1.0, episodes_per_step=3)
    train_on_episodes(training, fake.task, cfg, ctx)
    assert seen == [(2, 0, 3), (2, 3, 2), (2, 5, 3), (2, 8, 2)]


OPTIONS: dict[str, dict[str, Any]] = {
    "support": {"statistics": "support"},
    "first order": {"order": 1},
    "all options": {"learn_rates": True, "multi_step_loss": True, "inner_steps": 3, "statistics": "support"},
}


def _short(options: str) -> contract.Case:
    return contract.Case("maml", "episodic", params={**OPTIONS[options], "episodes": 12, "check_every": 4})


@pytest.mark.parametrize("options", OPTIONS)
def test_options_learn_and_are_inductive_where_they_say_so(options: str, tmp_path: Path) -> None:
    contract.check_learns(_short(options), tmp_path)
    contract.check_inductive(_short(options), tmp_path)


def test_all_options_resume(tmp_path: Path) -> None:
    contract.check_resumes(_short("all options"), tmp_path)


def test_in_mixed_precision_episodes_at_once_are_those_one_by_one() -> None:
    parts = _episodes()
    single = tuple(part.float() if part.is_floating_point() else part for part in parts)
    found = []
    for together in (False, True):
        solver = _solver(inner_steps=2)
        solver.module.float()
        if together:
            solver.vectorise(single[0][0])
        with torch.autocast("cpu", torch.bfloat16):
            losses = _losses(solver, single, 2)  # type: ignore[arg-type]
        assert losses.dtype == torch.float32
        gradient = torch.autograd.grad(losses.mean(), list(solver.module.parameters()))
        found.append(torch.cat([each.flatten() for each in gradient]))
    exact = _gradient(_solver(inner_steps=2), parts, 2).float()
    for each in found:
        assert (each - exact).norm() < 0.1 * exact.norm()


def test_refuses_all_shots() -> None:
    declared = registry.declaration("methods", "maml")
    info = fake_task("episodic").task.info
    assert declared.skip is not None
    assert declared.skip(info, fake_backbone().info, Config()) is None
    full = type(info)(info.protocol, info.dataset, "full", info.classes, info.options)
    assert "number of shots" in declared.skip(full, fake_backbone().info, Config())
