"""L2-SP: the pull against closed forms, and whole trainings against steps made by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import Case
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.classifier import Classifier, train_mode
from tlbench.training.context import Context
from tlbench.training.process_group import ProcessGroup
from tlbench.training.supervised_loop import LoopOptions


def _method() -> ModuleType:
    return registry.declaration("methods", "l2_sp").load()


def _parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def test_gradients_of_the_pull_are_those_of_finite_differences() -> None:
    trained = _parameters((3, 2), (4,), ())
    to_start = _method().half_squared_distance(trained)
    with torch.no_grad():
        for p in trained:
            p.add_(0.3)
    assert torch.autograd.gradcheck(lambda *_: 0.7 * to_start(), trained)


def test_descent_on_a_quadratic_ends_where_the_closed_form_says() -> None:
    """argmin 1/2 h (w - c)^2 + alpha / 2 (w - w0)^2 = (h c + alpha w0) / (h + alpha), coordinate by coordinate."""
    (w,) = _parameters((5,))
    start, alpha = w.detach().clone(), 0.6
    curvature, centre = torch.linspace(0.2, 1.0, 5).double(), torch.linspace(-2, 2, 5).double()
    to_start = _method().half_squared_distance([w])
    for _ in range(400):
        loss = 0.5 * (curvature * (w - centre).square()).sum() + alpha * to_start()
        (gradient,) = torch.autograd.grad(loss, [w])
        with torch.no_grad():
            w.sub_(0.5 * gradient)
    expected = (curvature * centre + alpha * start) / (curvature + alpha)
    torch.testing.assert_close(w.detach(), expected, rtol=1e-10, atol=1e-12)


def test_training_is_that_of_the_penalised_loss_written_out() -> None:
    lr, steps = 0.3, 8
    task = replace(fake_task("classification").task, val=None)

    def by_hand(alpha: float, beta: float) -> Classifier:
        twin = Classifier(fake_backbone(), 10).double()
        parts = [
            {"params": list(twin.backbone.parameters()), "lr": lr},
            {"params": list(twin.head.parameters()), "lr": lr},
        ]
        stepper = torch.optim.SGD(parts, momentum=0.9)
        start = [p.detach().clone() for p in twin.backbone.parameters()]
        x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.labels)
        train_mode(twin, "frozen")
        for step in range(steps):
            for group in stepper.param_groups:
                group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            stepper.zero_grad()
            moved = [(p - s).square().sum() for p, s in zip(twin.backbone.parameters(), start, strict=True)]
            own = [p.square().sum() for p in twin.head.parameters()]
            (cross_entropy(twin(x), y) + 0.5 * alpha * sum(moved) + 0.5 * beta * sum(own)).backward()
            stepper.step()
        return twin

    config = _method().Config(
        epochs=steps,
        batch_size=1000,
        optimizer="sgd",
        lr=lr,
        head_multiplier=1.0,
        alpha=0.8,
        beta=0.3,
        warmup=0.0,
        batch_norm="frozen",
    )
    backbone = fake_backbone().double()  # drawn in single precision, as the other
    torch.set_default_dtype(torch.float64)  # the classifier's new head too
    try:
        predictor = _method().fit(task, backbone, config, Context(random_root="l2-sp-test", device=CPU))
    finally:
        torch.set_default_dtype(torch.float32)
    found = dict(predictor.module.named_parameters())
    for name, expected in by_hand(0.8, 0.3).named_parameters():
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-9)
    for other in ((0.0, 0.3), (0.8, 0.0), (1.6, 0.3)):
        away = {name: (found[name] - p).abs().max().item() for name, p in by_hand(*other).named_parameters()}
        assert max(away.values()) > 1e-5, "this test needs pulls that show"


def test_in_mixed_precision_the_pull_stays_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    """A move of 1e-4 on a weight of one would be nothing in bfloat16."""
    method, seen = _method(), []

    def watched(*rest: object) -> None:
        options = rest[-1]
        assert isinstance(options, LoopOptions)
        penalty = options.penalty
        assert penalty is not None
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1e-4)
        value = penalty()
        seen.append((value.dtype, value.item()))

    model = fake_backbone()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    monkeypatch.setattr(method, "train_classifier", watched)
    ctx = Context(random_root="l2-sp-test", device=CPU, precision="bfloat16")
    method.fit(fake_task("classification").task, model, method.Config(alpha=1.0, beta=0.0), ctx)
    count = sum(p.numel() for p in model.parameters())
    assert seen == [(torch.float32, pytest.approx(0.5 * count * 1e-8, rel=1e-2))]


WORLD = 2


def _fit_together(rank: int, world: int, alpha: float = 2.0) -> dict[str, Tensor]:
    """With pulls and rates under which a penalty that is counted twice moves every tensor."""
    params = {"epochs": 8, "optimizer": "sgd", "lr": 0.3, "alpha": alpha, "beta": 0.5, "batch_norm": "frozen"}
    torch.set_default_dtype(torch.float64)
    try:
        with tempfile.TemporaryDirectory() as folder:
            case = Case("l2_sp", "classification", params=params, validation=False)  # the last epoch's weights stay
            fitted = contract.run(case, Path(folder), group=ProcessGroup(rank, world))
    finally:
        torch.set_default_dtype(torch.float32)
    return {name: p.detach() for name, p in fitted.result.module.named_parameters()}


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(meeting, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=120))


def test_two_processes_are_pulled_as_one_is(tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    child = subprocess.Popen([sys.executable, __file__, meeting])
    try:
        _join(0, meeting)
        found = _fit_together(0, WORLD)
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
    alone, twice = _fit_together(0, 1), _fit_together(0, 1, alpha=4.0)
    for name, expected in alone.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-7, atol=1e-9)
    away = max((twice[name] - expected).abs().max().item() for name, expected in alone.items())
    assert away > 1e-5, "this test needs a pull that shows"


if __name__ == "__main__":
    torch.set_num_threads(1)
    _join(1, sys.argv[1])
    _fit_together(1, WORLD)
    dist.destroy_process_group()
