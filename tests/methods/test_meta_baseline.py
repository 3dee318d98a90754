"""Meta-Baseline: its two stages, and the learnt factor of its cosines."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from tlbench.data.sampling import EpisodeShape, draw_episodes
from tlbench.plugins import registry
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.fewshot import base_classifier
from tlbench.training.fewshot import episodic_loop as meta
from tlbench.training.validation_scores import ValidationScores


@pytest.fixture(scope="module")
def method() -> ModuleType:
    return registry.declaration("methods", "meta_baseline").load()


def _context() -> Context:
    return Context(random_root="meta-baseline", device=CPU)


def _cosines(z: Tensor, ways: int, shots: int) -> Tensor:
    """Cosines (ways * queries, ways) between queries and class means; support first, both class by class."""
    support, query = z[: ways * shots], z[ways * shots :]
    means = torch.stack([support[label * shots : (label + 1) * shots].mean(0) for label in range(ways)])
    return torch.stack([cosine_similarity(query, mean[None]) for mean in means], 1)


def test_loss_and_gradient_of_the_factor_are_the_papers(method: ModuleType) -> None:
    """Two episodes a step; d loss / d tau = mean over queries of (sum_k p_k cos_k - cos_true)."""
    fake, backbone, ctx = fake_task("episodic"), fake_backbone(), _context()
    twin = copy.deepcopy(backbone).train()
    config = method.Config(epochs=0, episodes=2, per_step=2, ways=3, queries=4, lr=0.01, weight_decay=0.0)
    learner = method.fit(fake.task, backbone, config, ctx)
    train = fake.task.train
    drawn = draw_episodes(
        train.labels,
        np.arange(len(train)),
        range(6),
        EpisodeShape(ways=3, shots=5, queries=4),
        count=2,
        seed=ctx.seed("episodes", 0),
    )
    rows = [torch.from_numpy(part.reshape(2, -1)) for part in (drawn.support, drawn.query)]
    order = torch.cat([rows[0].flatten(), rows[1].flatten()])
    z = twin(torch.from_numpy(train.x)[order]).detach()
    support, query = z[:30].view(2, 15, -1), z[30:].view(2, 12, -1)
    truth = torch.arange(3).repeat_interleave(4)
    losses, slopes = [], []
    for s, q in zip(support, query, strict=True):
        cosines = _cosines(torch.cat([s, q]), 3, 5)
        losses.append(cross_entropy(10 * cosines, truth))
        p = (10 * cosines).softmax(1)
        slopes.append(((p * cosines).sum(1) - cosines[torch.arange(12), truth]).mean())
    assert ctx.curves["train_loss"] == [(2, pytest.approx(torch.stack(losses).mean().item(), rel=1e-4))]
    assert learner.encoder.scale.item() == pytest.approx(10 - 0.01 * torch.stack(slopes).mean().item(), abs=1e-5)
    assert ctx.selected["scale"] == learner.encoder.scale.item() != 10


def test_logits_are_scaled_cosines_to_the_means_of_the_support(method: ModuleType) -> None:
    fake = fake_task("episodic")
    learner = method.fit(fake.task, fake_backbone(), method.Config(epochs=1, episodes=2, scale=5.0), _context())
    with torch.no_grad():
        learner.encoder.scale.fill_(3.5)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4 * 2 + 6, 8, generator=generator)
    labels = torch.arange(2).repeat_interleave(4)
    logits = learner.classify(z[None, :8], labels[None], z[None, 8:], 2)[0]
    torch.testing.assert_close(logits, 3.5 * _cosines(z, 2, 4))


def test_the_first_stage_is_a_classifier_of_all_training_classes(
    method: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, seen = fake_task("episodic"), []
    whole = base_classifier.train_classifier

    def note(model: Any, groups: Any, train: Any, val: Any, *rest: Any, **more: Any) -> None:
        seen.append((type(model.head).__name__, model.head.weight.shape, train is fake.task.train, val))
        whole(model, groups, train, val, *rest, **more)

    monkeypatch.setattr(base_classifier, "train_classifier", note)
    for head in ("linear", "cosine"):
        ctx = _context()
        config = method.Config(epochs=3, episodes=2, head=head)
        learner = method.fit(fake.task, fake_backbone(), config, ctx)
        assert [step for step, _ in ctx.curves["classifier_loss"]] == [0, 1, 2]
        assert [step for step, _ in ctx.curves["train_loss"]] == [2]
        assert not any("head" in name for name, _ in learner.encoder.named_parameters()), "the head is thrown away"
    assert seen == [("Linear", (6, 8), True, None), ("CosineHead", (6, 8), True, None)]


def test_without_a_first_stage_it_starts_from_the_given_weights(method: ModuleType) -> None:
    fake, given = fake_task("episodic"), fake_backbone(1)
    before = {name: p.detach().clone() for name, p in given.named_parameters()}
    ctx = _context()
    learner = method.fit(fake.task, given, method.Config(epochs=0, episodes=2, lr=1e-9, weight_decay=0.0), ctx)
    for name, p in learner.encoder.backbone.named_parameters():
        torch.testing.assert_close(p, before[name], rtol=0, atol=1e-6)
    assert "classifier_loss" not in ctx.curves


@pytest.mark.parametrize(("epochs", "start"), [(2, 0.9), (2, 0.1), (0, None)])
def test_the_classifier_competes_and_given_weights_do_not(
    method: ModuleType, monkeypatch: pytest.MonkeyPatch, epochs: int, start: float | None
) -> None:
    scripted = [ValidationScores(accuracy, 1.0) for accuracy in ([] if start is None else [start]) + [0.5, 0.4]]
    seen: list[dict[str, Tensor]] = []

    def score(learner: Any, *_: Any) -> ValidationScores:
        seen.append(copy.deepcopy(learner.encoder.state_dict()))
        return scripted[len(seen) - 1]

    monkeypatch.setattr(meta, "episode_scores", score)
    ctx = _context()
    config = method.Config(epochs=epochs, episodes=2, check_every=1)
    learner = method.fit(fake_task("episodic").task, fake_backbone(), config, ctx)
    assert ctx.selected["episode"] == (0 if start == 0.9 else 1)
    best = max(range(len(seen)), key=lambda place: scripted[place].accuracy)
    kept = learner.encoder.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in seen[best].items())
    assert len(seen) == len(scripted)


class _KilledError(Exception):
    pass


def test_killed_in_its_second_stage_it_continues_bit_for_bit(tmp_path: Path) -> None:
    case = Case("meta_baseline", "episodic", params={"epochs": 3, "episodes": 40, "check_every": 10})
    straight = run(case, tmp_path / "straight")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    stages = []

    def kill(done: int, total: int) -> None:
        stages.append(total)
        if stages.count(4) == 2:
            raise _KilledError

    with pytest.raises(_KilledError):
        run(case, tmp_path / "killed", checkpoints=Checkpoints(scratch, interval=0.0), on_epoch=kill)
    assert {file.name for file in scratch.iterdir()} == {"classes.ckpt", "fit.ckpt"}
    resumed = run(case, tmp_path / "again", checkpoints=Checkpoints(scratch, interval=0.0))
    assert torch.equal(straight.logits, resumed.logits)
    assert straight.ctx.curves == resumed.ctx.curves
    assert straight.ctx.selected == resumed.ctx.selected
