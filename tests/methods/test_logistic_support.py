"""Logistic regression on the support: scikit-learn in each episode, C by validation episodes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize

from tlbench.plugins import registry
from tlbench.testing.fakes import fake_backbone, fake_context, fake_task
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import episode_scores, validation_episodes


@pytest.fixture(scope="module")
def method() -> ModuleType:
    return registry.declaration("methods", "logistic_support").load()


def _fit(method: ModuleType, folder: Path, *, val: bool = True, **params: Any) -> tuple[Any, Context]:
    fake, backbone = fake_task("episodic"), fake_backbone()
    task = fake.task if val else type(fake.task)(fake.task.info, fake.task.train, None)
    ctx = fake_context(folder, fake.dataset, backbone)
    return method.fit(task, backbone, method.Config(**params), ctx), ctx


def _episodes() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.arange(5).repeat(4)[torch.randperm(20, generator=generator)] for _ in range(3)])
    z = torch.randn(3, 20, 16, generator=generator) + torch.nn.functional.one_hot(labels, 16) * 2
    return 7 * z, labels, torch.randn(3, 30, 16, generator=generator)


@pytest.mark.parametrize("c", [1.0, 30.0])
def test_each_episode_is_scikit_learns_on_normalised_features(method: ModuleType, tmp_path: Path, c: float) -> None:
    learner, ctx = _fit(method, tmp_path, C=c)
    support, labels, query = _episodes()
    logits = learner.classify(support, labels, query, 5)
    assert logits.dtype == torch.float32
    for ours, s, y, q in zip(logits, support, labels, query, strict=True):
        model = LogisticRegression(C=c, tol=1e-9, max_iter=20_000).fit(normalize(s.double(), dim=1).numpy(), y.numpy())
        theirs = torch.from_numpy(model.predict_proba(normalize(q.double(), dim=1).numpy()))
        torch.testing.assert_close(ours.double().softmax(1), theirs, rtol=0, atol=1e-4)
    assert ctx.selected == {"C": c}


def test_c_is_chosen_on_episodes_of_the_validation_classes(
    method: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "_GRID", (1e-3, 1.0, 1e3))
    learner, ctx = _fit(method, tmp_path)
    task = fake_task("episodic").task
    episodes = validation_episodes(task.info, task.val, method._VALIDATION_EPISODES, ctx)
    tried = {c: _fit(method, tmp_path, C=c) for c in method._GRID}
    scores = {c: episode_scores(fitted, task.val, episodes, ctx) for c, (fitted, _) in tried.items()}
    best = max(method._GRID, key=lambda c: scores[c].order)
    assert len(set(scores.values())) == 3
    assert ctx.selected == {"C": best}
    told = {"accuracy": scores[best].accuracy, "nll": scores[best].nll}
    assert ctx.validation == told == tried[best][1].validation
    support, labels, query = _episodes()
    chosen = tried[best][0]
    assert torch.equal(learner.classify(support, labels, query, 5), chosen.classify(support, labels, query, 5))


def test_without_validation_c_is_the_papers(method: ModuleType, tmp_path: Path) -> None:
    _, ctx = _fit(method, tmp_path, val=False)
    assert ctx.selected == {"C": 1.0}
    assert ctx.validation == {}


def test_lengths_of_features_do_not_matter(method: ModuleType, tmp_path: Path) -> None:
    learner, _ = _fit(method, tmp_path, C=10.0)
    support, labels, query = _episodes()
    usual = learner.classify(support, labels, query, 5)
    torch.testing.assert_close(learner.classify(3 * support, labels, query / 5, 5), usual, rtol=1e-4, atol=1e-4)
