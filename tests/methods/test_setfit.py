"""SetFit: a step by hand, what tuning does to similarities, its head, what it reads, and its defaults."""

from __future__ import annotations

import copy
import csv
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from real_inputs import real_data, real_weights
from torch import Tensor
from torch.nn.functional import normalize

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe, tokenizer
from tlbench.core.info import TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.data.tokenizer import encode
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, FakeTask, fake_backbone, fake_context, fake_task, fake_text_backbone
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.labelled_pairs import PairBatches, plan_rounds
from tlbench.training.selfsupervised.downstream import fit_downstream_probe


class _StoppedError(Exception):
    pass


def _setfit() -> ModuleType:
    return registry.declaration("methods", "setfit").load()


def _context(**changes: Any) -> Context:
    return Context(**{"random_root": "setfit-test", "device": CPU, **changes})


def _published(backbone: Backbone) -> Backbone:
    backbone.info = replace(backbone.info, recipe={**backbone.info.recipe, "weights": {"kind": "timm", "name": "in1k"}})
    return backbone


def _all_labels(fake: FakeTask) -> Task:
    """The fake task without validation, as the protocol's auto has it."""
    return replace(fake.task, val=None)


def _similarities(backbone: Backbone, split: Split) -> tuple[float, float]:
    """Mean cosine similarity within classes, and between them."""
    z = normalize(embed(backbone, split.x, None, CPU), dim=1)
    same = torch.from_numpy(split.labels[:, None] == split.labels)
    s, others = z @ z.T, ~torch.eye(len(z), dtype=torch.bool)
    return s[same & others].mean().item(), s[~same].mean().item()


@pytest.mark.usefixtures("double")
def test_one_step_is_that_of_the_recipe_by_hand() -> None:
    """The first step's rate, a clipped gradient of the mean over all pairs, decay of matrices only."""
    setfit, train = _setfit(), fake_task("classification", "text", shots=2).task.train
    backbone = fake_text_backbone().double().train()
    twin = copy.deepcopy(backbone)
    config = setfit.Config(iterations=1, batch_size=64, lr=0.1, weight_decay=0.5, clip_norm=1e-3, warmup=0.0)
    ctx = _context()
    setfit._tune(train, backbone, config, ctx)
    plan = plan_rounds(len(train), 1, 64, 1000)
    (batch,) = PairBatches(torch.from_numpy(train.labels), plan, _context(), "pairs").epoch(0)
    z = normalize(twin(torch.from_numpy(train.x)[batch.rows]), dim=1)
    loss = sum(((z[a] * z[b]).sum() - t) ** 2 for a, b, t in zip(*(part.tolist() for part in batch.pairs), strict=True))
    loss = loss / len(batch.pairs.first)
    loss.backward()
    assert ctx.curves["pair_loss"] == [(0, pytest.approx(loss.item()))]
    norm = torch.stack([p.grad.square().sum() for p in twin.parameters() if p.grad is not None]).sum().sqrt()
    assert norm > 1e-2, "this test needs a gradient that is clipped"
    for (name, after), before in zip(backbone.named_parameters(), twin.named_parameters(), strict=True):
        value, gradient = before[1].detach(), before[1].grad
        assert gradient is not None
        gradient = gradient * 1e-3 / (norm + 1e-6)
        step = gradient / (gradient.abs() + 1e-8)  # Adam's first
        decay = 0.5 * value if value.ndim > 1 else 0.0
        expected = value - 0.1 * (step + decay)
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("modality", ["image", "text"])
def test_new_examples_of_a_class_come_together_and_those_of_two_part(modality: Any) -> None:
    fake = fake_task("classification", modality)
    backbone = fake_backbone() if modality == "image" else fake_text_backbone()
    ctx = _context()
    within, between = _similarities(backbone, fake.test)
    _setfit()._tune(fake.task.train, backbone, _setfit().Config(iterations=10, lr=1e-3), ctx)
    after_within, after_between = _similarities(backbone, fake.test)
    assert after_between < 0.6 * between
    assert after_within - after_between > within - between + 0.1
    losses = [loss for _, loss in ctx.curves["pair_loss"]]
    assert len(losses) == 10
    assert losses[-1] < 0.5 * losses[0]


def test_the_head_is_the_linear_probe_of_the_tuned_features(tmp_path: Path) -> None:
    probe, fake, tuned = (
        registry.declaration("methods", "linear_probe").load(),
        fake_task("classification"),
        fake_backbone(),
    )
    ctx = fake_context(tmp_path / "own", fake.dataset, fake_backbone())
    config = _setfit().Config(iterations=3, lr=1e-3)
    found = _setfit().fit(fake.task, tuned, config, ctx)
    assert not torch.equal(next(tuned.parameters()), next(fake_backbone().parameters()))
    twin = fake_context(tmp_path / "twin", fake.dataset, tuned)
    expected = probe.fit(fake.task, tuned, probe.Config(), twin)
    x = torch.from_numpy(fake.test.x)
    torch.testing.assert_close(found.logits(x), expected.logits(x), rtol=1e-3, atol=1e-3)
    assert ctx.selected["C"] == twin.selected["C"]
    assert ctx.validation == pytest.approx(twin.validation)


def test_c_is_chosen_unless_it_is_given(tmp_path: Path) -> None:
    fake = fake_task("classification")
    ctx = fake_context(tmp_path, fake.dataset, fake_backbone())
    _setfit().fit(fake.task, fake_backbone(), _setfit().Config(iterations=1, C=0.5), ctx)
    assert ctx.selected["C"] == 0.5
    assert ctx.candidates == {}


def test_folds_choose_c_and_their_scores_are_not_reported(tmp_path: Path) -> None:
    """The encoder was tuned on the labels of every fold; nothing of a fold is new to it."""
    fake = fake_task("classification")
    folds = np.arange(len(fake.task.train)) % 2
    ctx = fake_context(tmp_path, fake.dataset, fake_backbone())
    _setfit().fit(replace(_all_labels(fake), folds=folds), fake_backbone(), _setfit().Config(iterations=1), ctx)
    assert "C" in ctx.candidates
    assert ctx.selected["C"] == ctx.candidates["C"].best
    assert ctx.validation == {}


def test_it_is_tuned_on_the_labelled_training_examples_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    setfit, fake = _setfit(), fake_task("classification")
    assert fake.task.val is not None
    assert fake.task.unlabeled is not None
    read: list[Split] = []

    def examples(split: Split, device: torch.device) -> Examples:
        read.append(split)
        return Examples(split, device)

    def stop(*parts: Any, **more: Any) -> Any:
        raise _StoppedError

    monkeypatch.setattr(setfit, "Examples", examples)
    monkeypatch.setattr(setfit, "fit_downstream_probe", stop)
    noise = np.zeros_like(fake.task.val.x)
    other = replace(fake.task, val=Split(noise, fake.task.val.labels[::-1].copy(), fake.task.val.rows), unlabeled=None)
    states = []
    for task in (fake.task, other):
        backbone = fake_backbone()
        with pytest.raises(_StoppedError):
            setfit.fit(task, backbone, setfit.Config(iterations=2), _context())
        states.append(backbone.state_dict())
    assert [split is fake.task.train for split in read] == [True, True]
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())


def _rates(monkeypatch: pytest.MonkeyPatch, task: Task, backbone: Backbone, **params: Any) -> list[float]:
    """The rate of every step."""
    setfit, seen = _setfit(), list[float]()
    make = setfit.make_optimizer

    def watched(*parts: Any) -> torch.optim.Optimizer:
        optimizer = make(*parts)
        assert isinstance(optimizer, torch.optim.AdamW)
        optimizer.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(setfit, "make_optimizer", watched)
    setfit._tune(task.train, backbone, setfit.Config(**params), _context())
    return seen


def test_the_rate_rises_over_a_tenth_of_the_steps_and_falls_in_a_straight_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_task("classification", shots=4)
    assert len(fake.task.train) == 40 - len(fake.task.val or [])
    rates = _rates(monkeypatch, fake.task, fake_backbone(), iterations=5, lr=1e-3, batch_size=len(fake.task.train) // 2)
    assert len(rates) == 20
    expected = [0.5, 1.0, *((20 - step) / 18 for step in range(2, 20))]
    assert rates == pytest.approx([1e-3 * factor for factor in expected])


def test_steps_are_bounded_and_open_settings_go_by_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_task("classification")
    rates = _rates(monkeypatch, fake.task, _published(fake_backbone()), most_steps=11)
    assert 0 < len(rates) <= 11
    assert max(rates) == pytest.approx(2e-5)
    for backbone, lr, policy in ((fake_backbone(), 1e-3, "train"), (_published(fake_backbone()), 2e-5, "frozen")):
        ctx, before = _context(), {name: value.clone() for name, value in backbone.named_buffers()}
        _setfit()._tune(fake.task.train, backbone, _setfit().Config(iterations=1), ctx)
        assert ctx.selected == {"lr": lr, "batch_norm": policy}
        kept = all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
        assert kept is (policy == "frozen")


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_label_a_class_is_paired_with_itself_and_that_is_noted(modality: Any, tmp_path: Path) -> None:
    fake = fake_task("classification", modality, shots=1)
    make = fake_backbone if modality == "image" else fake_text_backbone
    ctx, backbone = fake_context(tmp_path, fake.dataset, make()), make()
    within, between = _similarities(backbone, fake.test)
    found = _setfit().fit(fake.task, backbone, _setfit().Config(lr=1e-3), ctx)
    assert ctx.notes == ["classes with one labelled example, which is paired with itself: 10"]
    assert ctx.selected["C"] == 1.0, "there is nothing to choose it by"
    assert torch.isfinite(found.logits(torch.from_numpy(fake.test.x))).all()
    after = _similarities(backbone, fake.test)
    assert after[1] < between
    assert after[0] - after[1] > within - between


def test_losses_are_in_single_precision_and_dropout_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    setfit, seen = _setfit(), set()
    backbone, losses = fake_text_backbone().eval(), setfit.cosine_losses

    def watched(z: Tensor, *rest: Any) -> Tensor:
        seen.add((z.dtype, backbone.training))
        return losses(z, *rest)

    monkeypatch.setattr(setfit, "cosine_losses", watched)
    train = fake_task("classification", "text").task.train
    setfit._tune(train, backbone, setfit.Config(iterations=1), _context(precision="bfloat16"))
    assert seen == {(torch.float32, True)}


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.slow
def test_a_published_sentence_encoder_tells_new_intents_apart_better_than_before(tmp_path: Path) -> None:
    """MiniLM on the thirty intents of two domains of CLINC150, three sentences of each; one to three minutes."""
    pytest.importorskip("transformers")
    real_weights(MINILM)
    file = real_data("clinc150/clinc150.csv")
    with file.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["domain"] in ("banking", "travel")]
    info = describe(f"hf:{MINILM}", {}, {"kind": "hf", "name": "DEFAULT"})
    names = sorted({row["label"] for row in rows})
    assert len(names) == 30
    labels = np.array([names.index(row["label"]) for row in rows])
    train, test = (np.flatnonzero([row["split"] == part for row in rows]) for part in ("train", "test"))
    train = np.concatenate([train[labels[train] == label][:3] for label in range(30)])
    test = np.concatenate([test[labels[test] == label][:10] for label in range(30)])
    texts = [rows[row]["text"] for row in (*train, *test)]
    ids = encode(str(tokenizer(info)), texts, info.recipe["max_length"], info.recipe["vocabulary"]["pad"]).ids
    fitted, new = (Split(ids[part], labels[own], own) for part, own in ((slice(90), train), (slice(90, None), test)))
    backbone = build(info, 0, None)
    facts = TaskInfo("classification", fake_task("classification", "text").dataset.info, 3, 30, {})
    within, between = _similarities(backbone, new)

    def accuracy() -> float:
        predictor = fit_downstream_probe(Task(facts, fitted, None, None), backbone, _context())
        return float((predictor.logits(torch.from_numpy(new.x)).argmax(1).numpy() == new.labels).mean())

    before, ctx = accuracy(), _context()
    _setfit()._tune(fitted, backbone, _setfit().Config(iterations=10), ctx)
    after = _similarities(backbone, new)
    assert ctx.selected["lr"] == 2e-5
    assert after[0] - after[1] > within - between + 0.1
    assert accuracy() > before - 0.01
