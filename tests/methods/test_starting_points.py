"""BitFit, LP-FT, L2-SP and WiSE-FT: what each leaves alone, starts from, is pulled to, or goes back to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_nets import BODIES, small_net
from torch import nn

from tlbench.core.errors import UserError
from tlbench.data.dataset import Task
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, FakeTask, fake_backbone, fake_context, fake_task
from tlbench.training.batches import Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.evaluation import evaluate
from tlbench.training.linear_probe import fit_probe, initialise_head


def _method(name: str) -> Any:
    return registry.declaration("methods", name).load()


@pytest.fixture(scope="module")
def fake() -> FakeTask:
    return fake_task("classification")


def _context(fake: FakeTask, tmp_path: Any, **changes: Any) -> Context:
    return fake_context(tmp_path, fake.dataset, fake_backbone(), **changes)


def _changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


# BitFit


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("what", ["bias", "norm", "bias_norm"])
def test_bitfit_changes_exactly_what_it_says(fake: FakeTask, name: str, what: str) -> None:
    method, backbone = _method("bitfit"), small_net(name).float()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    norms = {
        f"{at}.{key}"
        for at, module in backbone.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)
        for key, _ in module.named_parameters(recurse=False)
    }
    biases = {key for key, _ in backbone.named_parameters() if key.rpartition(".")[2] in ("bias", "in_proj_bias")}
    expected = {"bias": biases, "norm": norms, "bias_norm": biases | norms}[what]
    assert expected
    task = replace(fake.task, val=None)
    predictor = method.fit(
        task, backbone, method.Config(epochs=4, what=what), Context(random_root="bitfit", device=CPU)
    )
    changed = _changed(before, backbone.state_dict())
    assert changed == expected
    assert predictor.module.head.weight.abs().max() > 0
    head = sum(p.numel() for p in predictor.module.head.parameters())
    count = sum(before[key].numel() for key in expected) + head
    footprint = predictor.footprint()
    assert footprint.trainable == count
    assert footprint.stored_bytes == 4 * count


def test_bitfit_says_so_where_there_is_nothing_to_train(fake: FakeTask) -> None:
    backbone = fake_backbone()
    for block in ("block1", "block2", "block3", "block4"):
        backbone.replace(f"{block}.0", nn.Conv2d(1 if block == "block1" else 8, 8, 3, padding=1, bias=False))
        backbone.replace(f"{block}.1", nn.BatchNorm2d(8, affine=False))
    with pytest.raises(UserError, match="has no bias"):
        _method("bitfit").fit(
            fake.task, backbone, _method("bitfit").Config(), Context(random_root="bitfit", device=CPU)
        )


# The probe, and LP-FT


def test_a_classifier_given_the_probes_head_answers_as_the_probe(fake: FakeTask, tmp_path: Any) -> None:
    backbone, ctx = fake_backbone(), _context(fake, tmp_path)
    model = Classifier(backbone, 10).double().eval()
    probe = initialise_head(model, fake.task, ctx)
    z = ctx.frozen_features(fake.task.train).double()
    folded = torch.nn.functional.linear(z, model.head.weight, model.head.bias)
    torch.testing.assert_close(folded, probe(z.float()).double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.backbone(torch.from_numpy(fake.task.train.x)), z, rtol=1e-4, atol=1e-4)
    again = fit_probe(fake.task, ctx)
    assert (again.C, again.scores) == (probe.C, probe.scores)


def test_folding_is_exact_in_double_precision(fake: FakeTask, tmp_path: Any) -> None:
    probe = fit_probe(fake.task, _context(fake, tmp_path))
    exact = replace(probe, **{key: getattr(probe, key).double() for key in ("mean", "scale", "weights", "bias")})
    z = torch.randn(7, len(probe.mean), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights, bias = exact.folded()
    torch.testing.assert_close(torch.nn.functional.linear(z, weights, bias), exact(z), rtol=1e-12, atol=1e-12)


def test_where_fine_tuning_only_harms_lp_ft_returns_its_probe(fake: FakeTask, tmp_path: Any) -> None:
    method, backbone, ctx = _method("lp_ft"), fake_backbone(), _context(fake, tmp_path)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    config = method.Config(epochs=3, lr=30.0, optimizer="sgd", warmup=0.0)
    predictor = method.fit(fake.task, backbone, config, ctx)
    assert ctx.selected["epoch"] == -1
    assert _changed(before, backbone.state_dict()) == set()
    probe = fit_probe(fake.task, ctx)
    weights, bias = probe.folded()
    assert torch.equal(predictor.module.head.weight, weights)
    assert torch.equal(predictor.module.head.bias, bias)
    assert probe.scores is not None
    assert ctx.validation["accuracy"] == pytest.approx(probe.scores.accuracy)


def test_lp_ft_goes_on_from_the_probe_and_moves_the_backbone(fake: FakeTask, tmp_path: Any) -> None:
    method, backbone, ctx = _method("lp_ft"), fake_backbone(), _context(fake, tmp_path)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    task = replace(fake.task, val=None)
    method.fit(task, backbone, method.Config(epochs=3), ctx)
    weights, _ = initialise_head(Classifier(fake_backbone(), 10), task, ctx).folded()
    changed = _changed(before, backbone.state_dict())
    assert {name for name, _ in backbone.named_parameters()} <= changed
    assert not any("running" in name for name in changed), "statistics stay"
    assert weights.abs().max() > 0
    assert ctx.curves["train_loss"][0][1] < 1.5, "a fitted head starts far below log 10"


# L2-SP


def test_the_pull_is_half_the_squared_distance_and_nothing_at_the_start() -> None:
    pull = _method("l2_sp").half_squared_distance
    model = nn.Linear(3, 2).double()
    to_start, to_zero = pull(model.parameters()), pull(model.parameters(), start=0.0)
    start = [p.detach().clone() for p in model.parameters()]
    value = to_start()
    assert value.item() == 0
    assert all(not g.any() for g in torch.autograd.grad(value, list(model.parameters())))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5)
    assert to_start().item() == pytest.approx(0.5 * 8 * 0.25)
    moved = [p.detach() for p in model.parameters()]
    for g, now, then in zip(torch.autograd.grad(to_start(), list(model.parameters())), moved, start, strict=True):
        torch.testing.assert_close(g, now - then)
    for g, now in zip(torch.autograd.grad(to_zero(), list(model.parameters())), moved, strict=True):
        torch.testing.assert_close(g, now)


def test_the_pull_holds_the_backbone_where_it_started(fake: FakeTask) -> None:
    method, start = _method("l2_sp"), {name: p.detach() for name, p in fake_backbone().named_parameters()}
    distances = []
    for alpha in (0.0, 1.0, 1e4):
        backbone = fake_backbone()
        config = method.Config(epochs=30, lr=1e-2, alpha=alpha)
        method.fit(replace(fake.task, val=None), backbone, config, Context(random_root="pull", device=CPU))
        moved = [(p - start[name]).square().sum().item() for name, p in backbone.named_parameters()]
        distances.append(sum(moved))
    assert distances[2] < 0.1 * distances[1] < 0.1 * distances[0]


def test_l2_sp_takes_no_weight_decay_besides() -> None:
    with pytest.raises(ValueError, match="weight_decay"):
        _method("l2_sp").Config(weight_decay=0.1)


# WiSE-FT


def test_between_is_exact_at_both_ends_and_linear_in_the_middle() -> None:
    between = _method("wise_ft").interpolate_states
    start = {"w": torch.randn(50, generator=torch.Generator().manual_seed(0)), "n": torch.tensor(3)}
    end = {"w": torch.randn(50, generator=torch.Generator().manual_seed(1)), "n": torch.tensor(8)}
    assert torch.equal(between(start, end, 0.0)["w"], start["w"])
    assert torch.equal(between(start, end, 1.0)["w"], end["w"])
    torch.testing.assert_close(between(start, end, 0.3)["w"], 0.7 * start["w"] + 0.3 * end["w"])
    for alpha in (0.0, 0.3, 1.0):
        n = between(start, end, alpha)["n"]
        assert (n.dtype, n.item()) == (torch.int64, 3 if alpha < 0.5 else 8)


def _wise(fake: FakeTask, tmp_path: Any, task: Task, **params: Any) -> tuple[Any, Context]:
    method, ctx = _method("wise_ft"), _context(fake, tmp_path)
    predictor = method.fit(task, fake_backbone(), method.Config(epochs=5, batch_norm="train", **params), ctx)
    return predictor, ctx


def test_the_ends_of_wise_ft_are_the_probe_and_the_fine_tuned_network(fake: FakeTask, tmp_path: Any) -> None:
    none, ctx = _wise(fake, tmp_path / "0", fake.task, alpha=0.0)
    given = Classifier(fake_backbone(), 10)
    initialise_head(given, fake.task, ctx)
    for (name, found), expected in zip(none.module.named_parameters(), given.parameters(), strict=True):
        assert torch.equal(found, expected), name
    whole, _ = _wise(fake, tmp_path / "1", fake.task, alpha=1.0)
    assert not torch.equal(whole.module.head.weight, none.module.head.weight)
    half, _ = _wise(fake, tmp_path / "h", fake.task, alpha=0.5)
    for low, mid, high in zip(
        none.module.parameters(), half.module.parameters(), whole.module.parameters(), strict=True
    ):
        torch.testing.assert_close(mid, (low + high) / 2, rtol=1e-5, atol=1e-6)


def test_wise_ft_takes_the_best_share_on_validation(fake: FakeTask, tmp_path: Any) -> None:
    assert fake.task.val is not None
    _, ctx = _wise(fake, tmp_path / "c", fake.task)
    found = []
    for share in _method("wise_ft")._GRID:
        predictor, alone = _wise(fake, tmp_path / str(share), fake.task, alpha=share)
        scores = evaluate(predictor.module, Examples(fake.task.val, CPU), alone)
        assert (alone.validation["accuracy"], alone.validation["nll"]) == scores[:2]
        found.append((scores.order, -share))
    best = max(found)
    assert ctx.selected["alpha"] == -best[1]
    assert (ctx.validation["accuracy"], -ctx.validation["nll"]) == best[0]


def test_wise_ft_without_validation_goes_half_the_way(fake: FakeTask, tmp_path: Any) -> None:
    _, ctx = _wise(fake, tmp_path, replace(fake.task, val=None))
    assert ctx.selected["alpha"] == 0.5
