"""Fine-tuning on the support: each episode is an ordinary fine-tuning, and leaves nothing behind."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tlbench.core.info import TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.fewshot.support_finetuning import SupportFineTuner

WAYS, SHOTS = 3, 4


@pytest.fixture(scope="module")
def method() -> ModuleType:
    return registry.declaration("methods", "finetune").load()


def _context(**changes: Any) -> Context:
    return Context(random_root="episodes", device=CPU, **changes)


def _info(protocol: str) -> TaskInfo:
    fake = fake_task("episodic").task.info
    return TaskInfo(protocol, fake.dataset, SHOTS, WAYS, fake.options)


class _Sealed(Split):
    """Examples that nobody may read."""

    def __init__(self) -> None:
        super().__init__(None, None, np.arange(3))

    @property
    def x(self) -> Any:
        raise AssertionError("the training classes were read")

    labels = x  # type: ignore[assignment]


def _episodes(count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Support in random order, its labels, and queries; raw images."""
    data = fake_task("episodic").dataset
    rng = np.random.default_rng(0)
    support, labels, query = [], [], []
    for classes in [rng.permutation(10)[:WAYS] for _ in range(count)]:
        rows = np.stack([rng.permutation(np.flatnonzero(data.y == label))[: SHOTS + 2] for label in classes])
        order = rng.permutation(WAYS * SHOTS)
        support.append(data.x[rows[:, :SHOTS].ravel()[order]])
        labels.append(np.repeat(np.arange(WAYS), SHOTS)[order])
        query.append(data.x[rows[:, SHOTS:].ravel()])
    return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in map(np.stack, (support, labels, query)))


@pytest.mark.parametrize(
    "params",
    [
        {"epochs": 6},
        {"epochs": 3, "batch_size": 5, "augment": "shift", "batch_norm": "frozen"},
        {"epochs": 4, "optimizer": "sgd", "lr": 0.01, "smoothing": 0.1, "schedule": "one_cycle"},
    ],
)
def test_an_episode_is_fine_tuning_on_its_support(method: ModuleType, params: dict[str, Any]) -> None:
    config = method.Config(**params)
    solver = method.fit(Task(_info("episodic"), _Sealed(), None), fake_backbone(), config, _context())
    support, labels, query = _episodes()
    found = solver.classify(support, labels, query, WAYS)
    for logits, x, y, asked in zip(found, support, labels, query, strict=True):
        train = Split(x.numpy(), y.numpy(), np.arange(len(y)))
        tuned = method.fit(Task(_info("classification"), train, None), fake_backbone(), config, _context())
        assert torch.equal(logits, tuned.logits(asked))
    assert found.abs().min(2).values.max() > 1e-4, "nothing was learnt"


def test_fewer_ways_than_the_test_has_are_solved_too(method: ModuleType) -> None:
    solver = method.fit(Task(_info("episodic"), _Sealed(), None), fake_backbone(), method.Config(epochs=1), _context())
    support, labels, query = _episodes(1)
    two = (labels < 2)[0]
    assert solver.classify(support[:, two], labels[:, two], query, 2).shape == (1, 2 * WAYS, 2)


def test_nothing_is_kept_of_an_episode(method: ModuleType, tmp_path: Path) -> None:
    ctx = _context(checkpoints=Checkpoints(tmp_path, interval=0.0))
    solver = method.fit(Task(_info("episodic"), _Sealed(), None), fake_backbone(), method.Config(epochs=2), ctx)
    before = copy.deepcopy(solver.module.state_dict())
    solver.classify(*_episodes(), WAYS)
    assert all(torch.equal(value, before[name]) for name, value in solver.module.state_dict().items())
    assert (ctx.curves, ctx.selected.keys(), ctx.validation, ctx.notes) == ({}, {"lr", "head_lr", "batch_norm"}, {}, [])
    assert list(tmp_path.iterdir()) == []


def test_the_network_is_put_back_after_a_failure_too() -> None:
    def tune(model: torch.nn.Module, train: Split, ctx: Context) -> None:
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                tensor.add_(1)
        raise FloatingPointError

    solver = SupportFineTuner(fake_backbone(), tune, WAYS, _context())
    with pytest.raises(FloatingPointError):
        solver.classify(*_episodes(), WAYS)
    given = fake_backbone().state_dict()
    assert all(torch.equal(value, given[name]) for name, value in solver.module.state_dict().items())


def test_it_is_validated_on_a_few_episodes_of_the_validation_classes(method: ModuleType) -> None:
    fake, ctx = fake_task("episodic"), _context()
    assert fake.task.val is not None
    method.fit(Task(fake.task.info, _Sealed(), fake.task.val), fake_backbone(), method.Config(epochs=5, lr=5e-3), ctx)
    assert 0.5 < ctx.validation["accuracy"] <= 1
    assert ctx.selected == {"head_lr": pytest.approx(0.015), "batch_norm": "train"}


def test_the_footprint_counts_backbone_and_head(method: ModuleType) -> None:
    solver = method.fit(Task(_info("episodic"), _Sealed(), None), fake_backbone(), method.Config(), _context())
    body = list(fake_backbone().parameters())
    expected = sum(p.numel() for p in body) + WAYS * (fake_backbone().out_dim + 1)
    assert solver.footprint().trainable == solver.footprint().total == expected
