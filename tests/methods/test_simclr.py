"""SimCLR: whole trainings against steps made by hand, what it may read, what it leaves behind, and processes."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import SelfSupervisedConfig
from tlbench.data.dataset import TRAIN, Split, take
from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import PRETRAIN, Case
from tlbench.testing.fakes import CPU, fake_backbone, fake_context, fake_dataset, fake_task
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.lars import LARS
from tlbench.training.linear_probe import fit_probe
from tlbench.training.process_group import ProcessGroup
from tlbench.training.selfsupervised.projection_head import projection_head
from tlbench.training.selfsupervised.views import ViewBatches


def _method() -> ModuleType:
    return registry.declaration("methods", "simclr").load()


def _context(**changes: Any) -> Context:
    return Context(**{"random_root": "simclr-test", "device": CPU, **changes})


def _corpus() -> Split:
    dataset = fake_dataset()
    rows = dataset.rows(TRAIN)
    return take(dataset, rows, dataset.y[rows])


def _loss_by_hand(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Algorithm 1 with one softmax for each view, over all views but itself."""
    views = [each / each.norm() for each in (*first, *second)]
    count, losses = len(views), []
    for i, view in enumerate(views):
        others = [k for k in range(count) if k != i]
        logits = torch.stack([view @ views[k] / temperature for k in others])
        target = torch.tensor(others.index((i + len(first)) % count))
        losses.append(cross_entropy(logits[None], target[None]))
    return torch.stack(losses).mean()


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("optimizer", "layers"), [("adamw", 2), ("lars", 3), ("adamw", 1)])
def test_training_is_the_papers_written_out(optimizer: str, layers: int) -> None:
    corpus, epochs, size = _corpus(), 2, 40
    config = _method().Config(
        epochs=epochs,
        batch_size=size,
        optimizer=optimizer,
        lr=0.01,
        lars_lr=2.0,
        weight_decay=0.03,
        warmup=0.4,
        temperature=0.3,
        projection=6,
        layers=layers,
        views="small_objects",
        strength=1.5,
    )
    backbone, ctx = fake_backbone(), _context()
    twin = copy.deepcopy(backbone)
    _method().pretrain(corpus, backbone, config, ctx)

    head = projection_head(twin.out_dim, 6, layers, _context().generator("pretrain", "head"))
    parameters = [*twin.parameters(), *head.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.03},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    per_step = 100 / 3
    peak = 0.01 * (per_step / 256) ** 0.5 if optimizer == "adamw" else 2.0 * per_step / 256
    stepper = torch.optim.AdamW(groups, lr=peak) if optimizer == "adamw" else LARS(groups, lr=peak)
    images = Examples(Split(corpus.x, np.zeros(100, np.int64), np.arange(100)), CPU)
    batches = ViewBatches(images, size, "small_objects", 1.5, _context(), "pretrain")
    twin.train()
    head.train()
    step, means = 0, []
    for epoch in range(epochs):
        losses = []
        for batch in batches.epoch(epoch):
            for group in stepper.param_groups:
                rise, fall = (step + 1) / 2, 0.5 * (1 + math.cos(math.pi * (step - 2) / 4))
                group["lr"] = peak * (rise if step < 2 else fall)
            first, second = head(twin(batch.x)).chunk(2)
            loss = _loss_by_hand(first, second, 0.3)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            losses.append(loss.item() * batch.size)
            step += 1
        means.append(sum(losses) / 100)
    assert step == 6
    found, given = backbone.state_dict(), fake_backbone().state_dict()
    for name, expected in twin.state_dict().items():
        torch.testing.assert_close({name: found[name]}, {name: expected}, rtol=1e-7, atol=1e-8)
        assert not torch.equal(found[name], given[name])
    assert [value for _, value in ctx.curves["train_loss"]] == pytest.approx(means, rel=1e-8)


def test_both_views_pass_the_network_as_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, sizes = fake_backbone(), []
    backbone.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    _method().pretrain(_corpus(), backbone, _method().Config(epochs=2, batch_size=50), _context())
    assert sizes == [100] * 4
    assert backbone.get_buffer("body.block1.1.num_batches_tracked") == 4


def test_the_backbone_alone_is_left_behind() -> None:
    backbone, given = fake_backbone(), fake_backbone()
    _method().pretrain(_corpus(), backbone, _method().Config(epochs=1), _context())
    assert backbone.state_dict().keys() == given.state_dict().keys()
    assert [name for name, value in given.state_dict().items() if torch.equal(value, backbone.state_dict()[name])] == []
    assert not any(module._forward_hooks for module in backbone.modules())


def test_the_classifier_of_a_task_stands_on_features_not_on_projections() -> None:
    fake, backbone = fake_task("classification"), fake_backbone()
    config = _method().Config(epochs=1, tune_epochs=1, projection=5)
    predictor = _method().fit(fake.task, backbone, config, _context())
    assert predictor.module.backbone is backbone
    assert predictor.module.head.in_features == backbone.out_dim
    held = {id(p) for p in predictor.module.parameters()}
    assert held == {id(p) for p in (*backbone.parameters(), *predictor.module.head.parameters())}


def test_no_label_of_a_corpus_is_read() -> None:
    corpus = _corpus()
    shuffled = Split(corpus.x, np.random.default_rng(0).permutation(corpus.labels), corpus.rows)
    states = []
    for each in (corpus, shuffled, Split(corpus.x, None, corpus.rows)):
        backbone = fake_backbone()
        _method().pretrain(each, backbone, _method().Config(epochs=2), _context())
        states.append(backbone.state_dict())
    for state in states[1:]:
        assert all(torch.equal(value, state[name]) for name, value in states[0].items())


def test_no_label_of_a_task_is_read_before_the_labels_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    task, method = fake_task("classification").task, _method()
    assert task.val is not None
    rng, states = np.random.default_rng(0), []
    other = replace(
        task,
        train=Split(task.train.x, rng.permutation(task.train.labels), task.train.rows),
        val=Split(task.val.x, rng.permutation(task.val.labels), task.val.rows),
    )

    def note(task: Any, backbone: Backbone, cfg: SelfSupervisedConfig, ctx: Context) -> None:
        states.append(copy.deepcopy(backbone.state_dict()))

    monkeypatch.setattr(method, "train_downstream", note)
    for each in (task, other):
        method.fit(each, fake_backbone(), method.Config(epochs=2), _context())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_all_images_of_a_task_are_seen_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, method = fake_task("classification"), _method()
    seen: list[Any] = []
    batches = method.ViewBatches

    def note(images: Examples, *rest: Any) -> ViewBatches:
        seen.append(images.take(torch.arange(len(images)))[0].numpy())
        return batches(images, *rest)

    monkeypatch.setattr(method, "ViewBatches", note)
    monkeypatch.setattr(method, "train_downstream", lambda *_: None)

    def bytes_of(x: Any) -> list[bytes]:
        return sorted(each.tobytes() for each in x)

    method.fit(fake.task, fake_backbone(), method.Config(epochs=1), _context())
    rows = fake.dataset.rows(TRAIN)
    assert bytes_of(seen[0]) == bytes_of(fake.dataset.x[rows])
    full = replace(fake.task, val=None, unlabeled=None)
    method.fit(full, fake_backbone(), method.Config(epochs=1), _context())
    assert bytes_of(seen[1]) == bytes_of(fake.task.train.x)


def test_what_follows_is_told_as_the_suite_says(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, method, told = fake_task("classification"), _method(), []
    monkeypatch.setattr(method, "train_downstream", lambda task, backbone, cfg, ctx: told.append(cfg))
    config = method.Config(epochs=1, batch_size=64, weight_decay=0.0, then="probe", tune_epochs=7, tune_lr=0.02)
    method.fit(fake.task, fake_backbone(), config, _context())
    assert told == [SelfSupervisedConfig(then="probe", tune_epochs=7, tune_lr=0.02)]


def test_a_probe_that_follows_stands_on_the_changed_features(tmp_path: Path) -> None:
    fake, backbone = fake_task("classification"), fake_backbone()
    ctx = fake_context(tmp_path, fake.dataset, copy.deepcopy(backbone))
    predictor = _method().fit(fake.task, backbone, _method().Config(epochs=3, then="probe"), ctx)
    fresh = fake_context(tmp_path / "after", fake.dataset, backbone)
    probe = fit_probe(fake.task, fresh)
    expected = probe(embed(backbone, fake.test.x, None, CPU))
    torch.testing.assert_close(embed(predictor.logits, fake.test.x, None, CPU), expected, rtol=1e-3, atol=1e-3)
    assert ctx.selected == {"C": probe.C}
    assert probe.scores is not None
    assert ctx.validation["accuracy"] == probe.scores.accuracy
    old = fit_probe(fake.task, ctx)
    assert (old.weights - probe.weights).abs().max() > 1e-2, "this test needs features that moved"


def _within(backbone: nn.Module) -> float:
    """The share of the features' variance that lies within classes, on test images."""
    dataset = fake_dataset()
    z, labels = embed(backbone, dataset.x, None, CPU), torch.from_numpy(dataset.y)
    centres = torch.stack([z[labels == label].mean(0) for label in range(10)])
    return ((z - centres[labels]).square().sum() / (z - z.mean(0)).square().sum()).item()


@pytest.mark.parametrize("params", [{}, {"optimizer": "lars", "lars_lr": 3.0}], ids=["adamw", "lars"])
def test_images_that_look_alike_come_together_without_labels(params: dict[str, Any]) -> None:
    backbone, ctx = fake_backbone(), _context()
    before = _within(backbone)
    _method().pretrain(_corpus(), backbone, _method().Config(epochs=30, batch_size=50, **params), ctx)
    assert _within(backbone) < 0.75 * before
    first, last = (ctx.curves["train_loss"][place][1] for place in (0, -1))
    assert last < first - 0.3
    assert ctx.curves["alignment"][-1][1] < ctx.curves["alignment"][0][1]
    assert ctx.curves["uniformity"][-1][1] < -1.5


def test_curves_tell_both_trainings_of_a_task_apart() -> None:
    ctx = _context()
    config = _method().Config(epochs=3, batch_size=40, tune_epochs=5)
    _method().fit(fake_task("classification").task, fake_backbone(), config, ctx)
    lengths = {name: [step for step, _ in curve] for name, curve in ctx.curves.items()}
    assert lengths["pretrain_loss"] == lengths["alignment"] == lengths["uniformity"] == [0, 1, 2]
    assert lengths["train_loss"] == lengths["val_accuracy"] == [0, 1, 2, 3, 4]


def test_it_says_that_it_reads_images_and_no_labels_of_a_corpus() -> None:
    declared = registry.declaration("methods", "simclr")
    assert declared.modalities == ("image",)
    assert declared.constants.READS_LABELS is False
    assert declared.roles == ("fit", "pretrain")


WORLD = 2


def _train_together(rank: int, world: int) -> dict[str, Tensor]:
    """In batches of 33 and 34 images, so that shards differ in size; LARS, so that no rounding error is a step."""
    params = {"epochs": 3, "batch_size": 40, "optimizer": "lars", "lars_lr": 30.0, "temperature": 0.1}
    torch.set_default_dtype(torch.float64)
    try:
        with tempfile.TemporaryDirectory() as folder:
            fitted = contract.run(
                Case("simclr", PRETRAIN, params=params), Path(folder), group=ProcessGroup(rank, world)
            )
    finally:
        torch.set_default_dtype(torch.float32)
    curves = {name: torch.tensor([value for _, value in points]) for name, points in fitted.ctx.curves.items()}
    return dict(fitted.backbone.state_dict()) | curves


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(meeting, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=120))


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    child = subprocess.Popen([sys.executable, __file__, meeting])
    try:
        _join(0, meeting)
        found = _train_together(0, WORLD)
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
    alone, given = _train_together(0, 1), fake_backbone().state_dict()
    assert any("running_var" in name for name in alone)
    for name, expected in alone.items():
        torch.testing.assert_close({name: found[name]}, {name: expected}, rtol=1e-6, atol=1e-7)
        assert name not in given or (expected - given[name]).abs().max() > 1e-4, "this test needs weights that move"


if __name__ == "__main__":
    torch.set_num_threads(1)
    _join(1, sys.argv[1])
    _train_together(1, WORLD)
    dist.destroy_process_group()
