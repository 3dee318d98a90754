"""The two brackets of adaptation: the source alone, and the target's labels alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tlbench.backbones.catalog import build, describe
from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.protocols import adaptation
from tlbench.store.artifacts import Artifacts
from tlbench.testing import contract
from tlbench.testing.contract import Case
from tlbench.testing.fakes import CPU, fake_backbone, fake_task, fake_text_backbone
from tlbench.training.context import Context

SHORT: dict[str, Any] = {"steps": 10, "checks": 2, "bottleneck": 16}


def weights(method: str, task: Task) -> dict[str, Tensor]:
    module = registry.declaration("methods", method).load()
    torch.manual_seed(0)
    predictor = module.fit(task, fake_backbone(), module.Config(**SHORT), Context(random_root="bracket", device=CPU))
    return predictor.module.state_dict()


def noise(split: Split | None) -> Split:
    """Return other images in the place of a split's."""
    assert split is not None
    x = np.random.default_rng(0).integers(0, 256, split.x.shape).astype(np.uint8)
    return Split(x, split.y, split.rows)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_source_only_looks_at_no_target_image() -> None:
    """Not even its running statistics do."""
    task = fake_task("adaptation").task
    expected = weights("source_only", task)
    assert same(expected, weights("source_only", replace(task, unlabeled=noise(task.unlabeled), val=None)))
    assert not same(expected, weights("source_only", replace(task, source=noise(task.source))))


def test_source_only_learns_from_the_shots_there_are() -> None:
    task = fake_task("adaptation", shots=3).task
    expected = weights("source_only", task)
    assert not same(expected, weights("source_only", replace(task, train=noise(task.train))))
    other = Split(task.train.x, task.train.labels[::-1].copy(), task.train.rows)
    assert not same(expected, weights("source_only", replace(task, train=other)))


def test_the_target_oracle_learns_from_the_targets_labels_alone() -> None:
    task = fake_task("adaptation", oracle=True).task
    expected = weights("target_oracle", task)
    assert same(expected, weights("target_oracle", replace(task, source=noise(task.source), val=None)))
    assert not same(expected, weights("target_oracle", replace(task, train=noise(task.train))))


@pytest.mark.parametrize("method", ["source_only", "target_oracle"])
def test_texts(method: str, tmp_path: Path) -> None:
    case = Case(method, "adaptation", fake_text_backbone)
    contract.check_learns(case, tmp_path)
    contract.check_proposals(case, tmp_path)


def test_only_the_oracle_says_that_it_is_one() -> None:
    declared = {name: registry.declaration("methods", name) for name in registry.names("methods")}
    assert [name for name, each in declared.items() if each.constants.ORACLE] == ["target_oracle"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_printed_to_handwritten_digits(tmp_path: Path) -> None:
    """The gates: the source alone reads 55 to 80% of handwritten digits, the target's labels more than 95%."""
    pair = open_dataset("pair", {"source": "rendered_digits", "target": "digits"}, Artifacts(tmp_path))
    info = TaskInfo("adaptation", pair.info, 0, 10, adaptation.Options().model_dump())
    facts = describe("conv4", {"width": 32, "image_size": 16}, {"kind": "random"})
    accuracy: dict[str, list[float]] = {}
    for method in ("source_only", "target_oracle"):
        module = registry.declaration("methods", method).load()
        for seed in range(3):
            ctx = Context(random_root=f"{method}-{seed}", device=CPU, oracle=method == "target_oracle")
            torch.manual_seed(derive_seed(ctx.random_root))

            def fit(task: Task, module: Any = module, ctx: Context = ctx, seed: int = seed) -> Any:
                return module.fit(task, build(facts, seed, None), module.Config(steps=600), ctx)

            found = adaptation.run(info, pair, seed, fit, ctx)
            assert found is not None
            accuracy.setdefault(method, []).append(found.scores["accuracy"])
    assert 0.55 < np.mean(accuracy["source_only"]) < 0.80, accuracy
    assert min(accuracy["target_oracle"]) > 0.95, accuracy
