"""Fine-tuning, training from scratch, supervised pre-training and prototypical networks: what sets each apart."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench.core.errors import UserError
from tlbench.data.dataset import Split, Task
from tlbench.data.sampling import EpisodeShape, draw_episodes
from tlbench.plugins import registry
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.fewshot import episodic_loop as meta
from tlbench.training.fewshot.episodes import validation_episodes
from tlbench.training.fewshot.episodic_loop import EpisodicTraining
from tlbench.training.frozen_features import embed
from tlbench.training.validation_scores import ValidationScores


def _method(name: str) -> ModuleType:
    return registry.declaration("methods", name).load()


def _context(**changes: Any) -> Context:
    return Context(**{"random_root": "methods-test", "device": CPU, **changes})


def test_from_scratch_takes_random_weights_only() -> None:
    declared = registry.declaration("methods", "from_scratch")
    info, task = fake_backbone().info, fake_task("classification").task.info
    assert declared.skip is not None
    assert declared.skip(task, info, declared.settings()) is None
    taught = replace(info, recipe=info.recipe | {"weights": {"kind": "torchvision", "name": "DEFAULT"}})
    assert "random weights" in str(declared.skip(task, taught, declared.settings()))


def test_fine_tuning_starts_from_the_given_weights() -> None:
    method, fake = _method("finetune"), fake_task("classification")
    given = fake_backbone(1)
    before = {name: p.detach().clone() for name, p in given.named_parameters()}
    config = method.Config(epochs=1, lr=1e-9, head_multiplier=1.0)
    predictor = method.fit(fake.task, given, config, _context())
    for name, p in predictor.module.backbone.named_parameters():
        torch.testing.assert_close(p, before[name], rtol=0, atol=1e-6)


def test_only_the_head_itself_gets_the_heads_rate_whatever_the_names_of_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Layers called ``fc`` stand inside many bodies (squeeze and excitation, feed-forward blocks)."""
    method, fake = _method("finetune"), fake_task("classification")
    backbone = fake_backbone()
    backbone.body.add_module("fc", torch.nn.Linear(backbone.out_dim, backbone.out_dim))
    backbone.layer_groups.append(["fc"])
    rates: dict[int, float] = {}

    def note(model: torch.nn.Module, groups: list[Any], *rest: Any, **more: Any) -> None:
        rates.update({id(p): group["lr"] for group in groups for p in group["params"]})

    monkeypatch.setattr(method, "train_classifier", note)
    predictor = method.fit(fake.task, backbone, method.Config(lr=0.01, head_multiplier=10.0), _context())
    assert {rates[id(p)] for p in backbone.parameters()} == {0.01}
    assert [rates[id(p)] for p in predictor.module.head.parameters()] == pytest.approx([0.1, 0.1])


def test_fine_tuning_applies_its_batch_norm_policy() -> None:
    method, fake = _method("finetune"), fake_task("classification")
    for policy, moved in (("frozen", False), ("train", True)):
        given = fake_backbone()
        before = {name: b.clone() for name, b in given.named_buffers()}
        method.fit(fake.task, given, method.Config(epochs=1, batch_norm=policy), _context())
        assert any(not torch.equal(b, before[name]) for name, b in given.named_buffers()) is moved


def test_supervised_pretraining_makes_features_in_which_classes_are_nearer(tmp_path: Path) -> None:
    fitted = run(Case("supervised", "pretrain"), tmp_path)
    labels = torch.from_numpy(fitted.fake.test.labels)

    def spread(backbone: torch.nn.Module) -> float:
        z = embed(backbone, fitted.fake.test.x, None, CPU)
        centres = torch.stack([z[labels == label].mean(0) for label in range(10)])
        return ((z - centres[labels]).square().sum() / (z - z.mean(0)).square().sum()).item()

    assert spread(fitted.backbone) < 0.5 * spread(fitted.given)


def _loss_by_hand(z: Tensor, ways: int, shots: int, queries: int) -> Tensor:
    """Section 2.2 in loops: class means, squared distances, negative log-likelihood of the true class."""
    support, query = z[: ways * shots].view(ways, shots, -1), z[ways * shots :].view(ways, queries, -1)
    losses = []
    for label in range(ways):
        for one in query[label]:
            distances = torch.stack([(one - support[other].mean(0)).square().sum() for other in range(ways)])
            losses.append(cross_entropy(-distances[None], torch.tensor([label])))
    return torch.stack(losses).mean()


def test_the_loss_of_an_episode_is_the_papers() -> None:
    method, fake = _method("protonet"), fake_task("episodic")
    backbone, ctx = fake_backbone(), _context()
    twin = copy.deepcopy(backbone).train()
    method.fit(fake.task, backbone, method.Config(episodes=1, ways=4, queries=3, lr=1e-3), ctx)
    train = fake.task.train
    rows, seed = np.arange(len(train)), ctx.seed("episodes", 0)
    drawn = draw_episodes(train.labels, rows, range(6), EpisodeShape(ways=4, shots=5, queries=3), count=1, seed=seed)
    rows = np.concatenate([drawn.support[0].ravel(), drawn.query[0].ravel()])
    assert len(set(rows.tolist())) == 4 * 8, "a query is also a support example"
    loss = _loss_by_hand(twin(torch.from_numpy(train.x[rows])), 4, 5, 3)
    assert ctx.curves["train_loss"] == [(1, pytest.approx(loss.item(), rel=1e-4))]


def test_protonet_returns_the_encoder_that_was_best_on_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    method, fake = _method("protonet"), fake_task("episodic")
    scripted = [
        ValidationScores(0.5, 1.0),
        ValidationScores(0.8, 0.9),
        ValidationScores(0.8, 0.7),
        ValidationScores(0.8, 0.7),
        ValidationScores(0.7, 0.1),
    ]
    seen: list[dict[str, Tensor]] = []

    def score(learner: Any, *_: Any) -> ValidationScores:
        seen.append(copy.deepcopy(learner.encoder.state_dict()))
        return scripted[len(seen) - 1]

    monkeypatch.setattr(meta, "episode_scores", score)
    ctx = _context()
    learner = method.fit(fake.task, fake_backbone(), method.Config(episodes=5, check_every=1), ctx)
    assert ctx.selected.items() >= {"episode": 3}.items(), "larger accuracy, then smaller nll, then earlier"
    assert ctx.validation == {"accuracy": 0.8, "nll": 0.7}
    kept = learner.encoder.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in seen[2].items())
    assert not all(torch.equal(kept[name], value) for name, value in seen[4].items())


def test_protonet_trains_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 ways, 5 queries, as many shots as the test, Adam at 0.001, halved every 2000 episodes."""
    method, fake = _method("protonet"), fake_task("episodic")
    asked: dict[str, Any] = {}

    def note(training: EpisodicTraining, *rest: Any) -> None:
        rates = [training.rate(done) for done in (0, 1999, 2000, 3999, 4000)]
        asked.update(optimizer=training.optimizer, rates=rates)

    monkeypatch.setattr(method, "train_on_episodes", note)
    config = method.Config()
    backbone = fake_backbone()
    method.fit(fake.task, backbone, config, _context())
    assert (config.ways, config.queries) == (60, 5)
    assert asked["rates"] == [1, 1, 0.5, 0.5, 0.25]
    (group,) = asked["optimizer"].param_groups
    assert type(asked["optimizer"]) is torch.optim.Adam
    assert (group["base_lr"], group["weight_decay"], group["betas"]) == (1e-3, 0, (0.9, 0.999))
    assert set(group["params"]) == set(backbone.parameters())


def test_protonet_stops_when_its_patience_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    method, fake = _method("protonet"), fake_task("episodic")
    scripted = iter(
        [
            ValidationScores(0.5, 1.0),
            ValidationScores(0.8, 0.9),
            ValidationScores(0.7, 0.7),
            ValidationScores(0.8, 0.9),
            ValidationScores(0.9, 0.1),
        ]
    )
    monkeypatch.setattr(meta, "episode_scores", lambda *_: next(scripted))
    ctx = _context()
    method.fit(fake.task, fake_backbone(), method.Config(episodes=5, check_every=1, patience=2), ctx)
    assert [step for step, _ in ctx.curves["val_accuracy"]] == [1, 2, 3, 4]
    assert ctx.selected.items() >= {"episode": 2}.items()


def test_validation_episodes_are_scored_as_by_hand() -> None:
    method, fake = _method("protonet"), fake_task("episodic")
    ctx = _context()
    learner = method.fit(fake.task, fake_backbone(), method.Config(episodes=2, ways=6, checks=30), ctx)
    episodes = validation_episodes(fake.task.info, fake.task.val, 30, ctx)
    assert episodes is not None
    assert fake.task.val is not None
    z = embed(learner.encoder, fake.task.val.x, None, CPU)
    right = []
    for support, query in zip(episodes.support, episodes.query, strict=True):
        centres = torch.stack([z[torch.from_numpy(rows)].mean(0) for rows in support])
        for label, rows in enumerate(query):
            right += [label == int(torch.cdist(z[row][None], centres).argmin()) for row in rows]
    assert ctx.validation["accuracy"] == pytest.approx(float(np.mean(right)), abs=1 / len(right))


def test_protonet_says_when_classes_are_too_small() -> None:
    method, fake = _method("protonet"), fake_task("episodic")
    task = Task(replace(fake.task.info, shots=18), fake.task.train, fake.task.val)
    with pytest.raises(UserError, match="18 shots and 5 queries"):
        method.fit(task, fake_backbone(), method.Config(), _context())


def test_protonet_leaves_small_classes_out_and_says_so() -> None:
    method, fake = _method("protonet"), fake_task("episodic")
    train = fake.task.train
    kept = np.flatnonzero((train.labels != 0) | (np.arange(len(train)) < 3))
    smaller = Split(train.x[kept], train.labels[kept], train.rows[kept])
    ctx = _context()
    method.fit(replace(fake.task, train=smaller), fake_backbone(), method.Config(episodes=1, ways=5), ctx)
    assert ctx.notes == ["1 training classes have fewer than 10 examples and were left out"]
