"""LP-FT: it starts as the probe exactly, and ends as the probe where nothing after it was better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tlbench.data.dataset import Task
from tlbench.plugins import registry
from tlbench.testing.contract import Case, assert_footprint, run
from tlbench.testing.fakes import CPU, FakeTask, fake_backbone, fake_context, fake_task
from tlbench.training import linear_probe as probes
from tlbench.training.batches import Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.evaluation import evaluate
from tlbench.training.frozen_features import embed
from tlbench.training.linear_probe import LinearProbe, fit_probe, initialise_head

WORSE = {"epochs": 4, "lr": 0.1, "warmup": 0.0}
"""A rate at which every epoch is worse than the probe, and finite."""


class _KilledError(Exception):
    pass


class _Live:
    """Features of a backbone in its own precision, kept nowhere."""

    def __init__(self, fake: FakeTask, offset: float) -> None:
        self.backbone = fake_backbone().double().eval()
        self.fake = fake
        self.offset = offset

    @torch.no_grad()
    def take(self, rows: Any) -> Tensor:
        return self.backbone(torch.from_numpy(self.fake.dataset.x[rows])) + self.offset


@pytest.fixture(scope="module")
def fake() -> FakeTask:
    return fake_task("classification")


def _method() -> ModuleType:
    return registry.declaration("methods", "lp_ft").load()


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_before_the_first_step_the_logits_are_the_probes(fake: FakeTask, offset: float) -> None:
    live = _Live(fake, offset)
    ctx = Context(random_root="lp-ft-test", device=CPU, features=cast(Any, live))
    model = Classifier(fake_backbone(), 10).double().eval()
    probe = initialise_head(model, fake.task, ctx)
    z = live.take(fake.test.rows)
    assert probe.weights.dtype == torch.float64
    torch.testing.assert_close(model.head(z), probe(z), rtol=1e-9, atol=1e-9)
    assert probe(z).abs().max() > 1
    if not offset:
        torch.testing.assert_close(model(torch.from_numpy(fake.test.x)), probe(z), rtol=1e-9, atol=1e-9)


def test_in_single_precision_features_far_from_zero_are_folded_without_loss(fake: FakeTask) -> None:
    """What rounding leaves is that of the bias, once; the fold itself must add nothing."""
    generator = torch.Generator().manual_seed(0)
    mean = 50 + torch.rand(64, generator=generator)
    parts = torch.randn(10, 64, generator=generator), torch.randn(10, generator=generator)
    probe = LinearProbe(1.0, mean, torch.tensor(0.01), *parts, None)
    exact = replace(probe, **{name: v.double() for name, v in vars(probe).items() if isinstance(v, Tensor)})
    assert all(torch.equal(a, b.float()) for a, b in zip(probe.folded(), exact.folded(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(probe.folded(torch.float64), exact.folded(), strict=True))


def test_every_process_starts_from_the_first_ones_probe(
    fake: FakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = fake_context(tmp_path, fake.dataset, fake_backbone())
    own = fit_probe(fake.task, ctx)
    first = replace(own, C=0.125, weights=own.weights + 1)
    monkeypatch.setattr(
        probes, "broadcast_from_rank_zero", lambda mine: first if torch.equal(mine.bias, own.bias) else mine
    )
    model = Classifier(fake_backbone(), 10)
    assert initialise_head(model, fake.task, ctx).C == 0.125
    assert torch.equal(model.head.weight, first.folded()[0])


def test_where_the_probe_wins_only_its_head_is_counted_and_the_record_says_so(tmp_path: Path) -> None:
    fitted = run(Case("lp_ft", "classification", params=WORSE), tmp_path)
    assert fitted.ctx.selected["epoch"] == -1
    assert_footprint(fitted)
    head = sum(p.numel() for p in fitted.result.module.head.parameters())
    assert fitted.result.footprint().trainable == head
    assert fitted.result.footprint().stored_bytes == 4 * head
    assert len(fitted.ctx.notes) == 1
    better = run(Case("lp_ft", "classification", params={"epochs": 3}), tmp_path / "better")
    assert (better.ctx.selected["epoch"] >= 0) is (better.ctx.notes == [])


def test_what_is_returned_scores_exactly_what_it_was_chosen_by(tmp_path: Path) -> None:
    for name, params in (("start", WORSE), ("tuned", {"epochs": 10, "lr": 3e-3})):
        fitted = run(Case("lp_ft", "classification", params=params), tmp_path / name)
        assert fitted.fake.task.val is not None
        again = evaluate(fitted.result.module, Examples(fitted.fake.task.val, CPU), fitted.ctx)
        assert fitted.ctx.validation == {"accuracy": again.accuracy, "nll": again.nll}
        epochs = zip(fitted.ctx.curves["val_accuracy"], fitted.ctx.curves["val_nll"], strict=True)
        assert all((accuracy, -nll) <= again.order for (_, accuracy), (_, nll) in epochs)
        assert (fitted.ctx.selected["epoch"] == -1) is (name == "start"), "this test needs one of each"


def test_the_start_stays_the_best_across_a_kill(tmp_path: Path) -> None:
    case = Case("lp_ft", "classification", params=WORSE)
    straight = run(case, tmp_path / "straight")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise _KilledError

    with pytest.raises(_KilledError):
        run(case, tmp_path / "killed", checkpoints=Checkpoints(scratch, interval=0.0), on_epoch=kill)
    assert list(scratch.glob("*.ckpt"))
    resumed = run(case, tmp_path / "again", checkpoints=Checkpoints(scratch, interval=0.0))
    assert (
        resumed.ctx.selected
        == straight.ctx.selected
        == {"augment": "none", "C": straight.ctx.selected["C"], "epoch": -1}
    )
    assert torch.equal(resumed.logits, straight.logits)
    assert resumed.result.footprint() == straight.result.footprint()


def test_patience_counts_from_the_start(tmp_path: Path) -> None:
    fitted = run(Case("lp_ft", "classification", params={**WORSE, "epochs": 20, "patience": 2}), tmp_path)
    assert [epoch for epoch, _ in fitted.ctx.curves["val_accuracy"]] == [0, 1]


def test_without_validation_the_last_epoch_stays(fake: FakeTask, tmp_path: Path) -> None:
    ctx, backbone = fake_context(tmp_path, fake.dataset, fake_backbone()), fake_backbone()
    task: Task = replace(fake.task, val=None)
    predictor = _method().fit(task, backbone, _method().Config(epochs=2), ctx)
    assert ctx.selected == {"C": probes.DEFAULT_C, "lr": 1e-3, "augment": "none"}
    assert ctx.notes == []
    total = sum(p.numel() for p in predictor.module.parameters())
    assert predictor.footprint().trainable == total


def test_features_are_those_of_the_backbone_as_given(fake: FakeTask, tmp_path: Path) -> None:
    ctx = fake_context(tmp_path, fake.dataset, fake_backbone())
    live = embed(fake_backbone(), fake.task.train.x, None, CPU)
    torch.testing.assert_close(ctx.frozen_features(fake.task.train), live, rtol=1e-5, atol=1e-5)
