"""What the contract asks of learners of episodes, on learners that break it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tlbench.core.record import Footprint
from tlbench.testing import contract
from tlbench.testing.contract import Case, Fitted
from tlbench.testing.fakes import fake_backbone, fake_context, fake_task
from tlbench.training.fewshot.prototypes import distance_logits, prototypes

CASE = Case("some", "episodic")


class Solver:
    """Class means of an embedding in training or evaluation mode."""

    def __init__(self, *, training: bool, transductive: bool) -> None:
        self.module = fake_backbone()
        self.training = training
        self.transductive = transductive

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        self.module.train(self.training)
        kept = {name: value.clone() for name, value in self.module.state_dict().items()}
        found = []
        for s, y, q in zip(support, labels, query, strict=True):
            z = self.module(torch.cat([s, q]))[None]
            found.append(distance_logits(z[:, len(s) :], prototypes(z[:, : len(s)], y[None], ways))[0])
        self.restore(kept)
        return torch.stack(found)

    def restore(self, kept: dict[str, Tensor]) -> None:
        self.module.load_state_dict(kept)

    def footprint(self) -> Footprint:
        count = sum(p.numel() for p in self.module.parameters())
        return Footprint(trainable=0, total=count, stored_bytes=0)


class Drifting(Solver):
    def restore(self, kept: dict[str, Tensor]) -> None:
        pass


def _fitted(result: Any, folder: Path) -> Fitted:
    fake = fake_task("episodic")
    ctx = fake_context(folder, fake.dataset, fake_backbone())
    return Fitted(
        contract._predict(result, fake, ctx, slice(None)), result, fake_backbone(), fake_backbone(), ctx, fake
    )


def test_batch_statistics_are_transductive_and_must_be_declared(tmp_path: Path) -> None:
    contract.assert_transductive(_fitted(Solver(training=True, transductive=True), tmp_path))
    with pytest.raises(AssertionError):
        contract.assert_inductive(_fitted(Solver(training=True, transductive=False), tmp_path))
    contract.assert_inductive(_fitted(Solver(training=False, transductive=False), tmp_path))


def test_nobody_is_transductive_by_declaration_alone(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="do not matter"):
        contract.assert_transductive(_fitted(Solver(training=False, transductive=True), tmp_path))


@pytest.mark.parametrize("transductive", [True, False])
def test_the_declaration_says_which_check_is_made(
    transductive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = _fitted(Solver(training=transductive, transductive=transductive), tmp_path)
    monkeypatch.setattr(contract, "run", lambda *_, **__: fitted)
    contract.check_inductive(CASE, tmp_path)


class Remembering(Solver):
    """Answers as in the first episode of a call."""

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        return super().classify(support, labels[:1].expand_as(labels), query, ways)


@pytest.mark.parametrize(("kind", "kept"), [(Solver, True), (Drifting, False), (Remembering, False)])
def test_an_episode_must_not_reach_the_next(
    kind: type[Solver], kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = _fitted(kind(training=True, transductive=True), tmp_path)
    monkeypatch.setattr(contract, "run", lambda *_, **__: fitted)
    with nullcontext() if kept else pytest.raises(AssertionError):
        contract.check_solving(CASE, tmp_path)


def test_what_a_solver_trains_within_an_episode_may_be_more_than_the_fit_changed(tmp_path: Path) -> None:
    fitted = _fitted(Solver(training=False, transductive=False), tmp_path)
    contract.assert_footprint(fitted)
    with torch.no_grad():
        fitted.result.module.body.block1[0].weight.add_(1)
    with pytest.raises(AssertionError):
        contract.assert_footprint(fitted)
