"""Gradual unfreezing: what is trained at each stage, what stays to the last bit, and that no moment is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_nets import small_net
from torch import Tensor

from tlbench.core.errors import UserError
from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import Case
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training import supervised_loop as loop
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.frozen_prefix import cache_prefix

METHOD = registry.declaration("methods", "gradual_unfreezing").load()


class Watched:
    """What each epoch of one fit trained, and the state of everything before and after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, backbone: Any, *, live: bool = False, **params: Any) -> None:
        self.trained: list[set[str]] = []
        self.states: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
        self.moments: list[dict[str, float]] = []
        self.optimizers: list[int] = []
        inner = loop._train_epoch
        monkeypatch.setattr(loop, "cache_prefix", (lambda *_: None) if live else cache_prefix)

        def watch(stage: Any, optimizer: torch.optim.Optimizer, *rest: Any) -> float:
            names = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
            self.trained.append(set(names))
            before = _copy(self.model.state_dict())
            loss = inner(stage, optimizer, *rest)
            self.states.append((before, _copy(self.model.state_dict())))
            of = {id(p): name for name, p in self.model.named_parameters()}
            self.moments.append({of[id(p)]: float(state["step"]) for p, state in optimizer.state.items()})
            self.optimizers.append(id(optimizer))
            return loss

        monkeypatch.setattr(loop, "_train_epoch", watch)
        make = METHOD.Classifier

        def build(*args: Any) -> Any:
            self.model = make(*args).to(next(backbone.parameters()).dtype)
            return self.model

        monkeypatch.setattr(METHOD, "Classifier", build)
        task = replace(fake_task("classification").task, val=None)
        METHOD.fit(task, backbone, METHOD.Config(**params), Context(random_root="thaw", device=CPU))


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _below(model: torch.nn.Module, *parts: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if any(name.startswith(part) for part in parts)}


def test_each_stage_trains_one_group_more_from_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Watched(monkeypatch, fake_backbone(), epochs=12, epochs_per_stage=2)
    blocks = [f"backbone.body.block{number}." for number in (4, 3, 2, 1)]
    stages = [_below(seen.model, "head.", *blocks[:count]) for count in range(5)]
    assert [len(stage) for stage in stages] == [2, 6, 10, 14, 18]
    assert seen.trained == [stages[min(epoch // 2, 4)] for epoch in range(12)]
    assert seen.trained[-1] == {name for name, _ in seen.model.named_parameters()}


def test_the_groups_of_a_residual_network_are_its_stages_and_its_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Watched(monkeypatch, small_net("resnet"), epochs=6)
    body = "backbone.body."
    order = [f"{body}layer4", f"{body}layer3", f"{body}layer2", f"{body}layer1", f"{body}conv1", f"{body}bn1"]
    expected = [_below(seen.model, "head", *order[:count]) for count in (0, 1, 2, 3, 4, 6)]
    assert seen.trained == expected


@pytest.mark.parametrize("live", [False, True], ids=["frozen groups left out", "frozen groups run"])
@pytest.mark.parametrize("policy", ["train", "frozen"])
def test_frozen_groups_stay_to_the_last_bit_statistics_included(
    monkeypatch: pytest.MonkeyPatch, policy: str, live: bool
) -> None:
    seen = Watched(monkeypatch, fake_backbone(), live=live, epochs=5, batch_norm=policy)
    for trained, (before, after) in zip(seen.trained, seen.states, strict=True):
        open_modules = {name.rpartition(".")[0] for name in trained}
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert {name.rpartition(".")[0] for name in changed} <= open_modules
        assert trained <= changed, "what is open moves"
        moving = {name for name in changed if "running" in name}
        assert bool(moving) == (policy == "train" and len(trained) > 2)


def test_one_optimiser_keeps_its_moments_across_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Watched(monkeypatch, fake_backbone(), epochs=5)
    assert len(set(seen.optimizers)) == 1
    steps = seen.moments[0]["head.weight"]
    for epoch, moments in enumerate(seen.moments):
        assert set(moments) == seen.trained[epoch], "only what has been open has moments"
        assert moments["head.weight"] == steps * (epoch + 1)
    for name in seen.trained[3] - seen.trained[2]:
        assert seen.moments[4][name] == 2 * steps


def test_with_all_from_the_start_it_is_fine_tuning_bit_for_bit() -> None:
    fake, plain = fake_task("classification"), registry.declaration("methods", "finetune").load()
    states = []
    for method, params in ((METHOD, {"order": "all"}), (plain, {})):
        backbone = fake_backbone()
        method.fit(fake.task, backbone, method.Config(epochs=3, **params), Context(random_root="same", device=CPU))
        states.append(backbone.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_to_leave_frozen_groups_out_changes_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for live in (False, True):
        with monkeypatch.context() as patch:
            seen = Watched(patch, fake_backbone().double(), live=live, epochs=10, epochs_per_stage=2)
        ends.append(seen.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close({name: value}, {name: ends[1][name]}, rtol=1e-6, atol=1e-8)


def test_patience_waits_for_the_last_stage() -> None:
    """At a rate that moves nothing no epoch is better than the first."""
    params = {"lr": 1e-300, "optimizer": "sgd", "batch_norm": "frozen", "patience": 1}
    for order, epochs in (("top_down", 9), ("head_first", 3), ("all", 2)):
        ctx = Context(random_root="thaw", device=CPU)
        config = METHOD.Config(epochs=12, epochs_per_stage=2, order=order, **params)
        METHOD.fit(fake_task("classification").task, fake_backbone(), config, ctx)
        assert [epoch for epoch, _ in ctx.curves["val_accuracy"]] == list(range(epochs))


def test_head_first_opens_everything_at_the_second_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Watched(monkeypatch, fake_backbone(), epochs=6, epochs_per_stage=3, order="head_first")
    assert [len(trained) for trained in seen.trained] == [2, 2, 2, 18, 18, 18]


@pytest.mark.parametrize(("order", "trained"), [("top_down", [2, 6, 10]), ("head_first", [2, 10]), ("all", [10])])
def test_what_is_deeper_than_the_depth_never_moves(
    monkeypatch: pytest.MonkeyPatch, order: str, trained: list[int]
) -> None:
    seen = Watched(monkeypatch, fake_backbone(), epochs=4, depth=2, order=order)
    assert [len(each) for each in seen.trained] == [*trained, *[10] * (4 - len(trained))]
    before, after = seen.states[0][0], seen.states[-1][1]
    lower = [name for name in before if "block1." in name or "block2." in name]
    assert lower
    assert all(torch.equal(before[name], after[name]) for name in lower), "running statistics among them"
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_a_depth_beyond_the_network_thaws_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        METHOD.lowest_trained_groups("top_down", 4, 9) == METHOD.lowest_trained_groups("top_down", 4) == [4, 3, 2, 1, 0]
    )
    seen = Watched(monkeypatch, fake_backbone(), epochs=2, depth=9, order="all")
    assert [len(each) for each in seen.trained] == [18, 18]


def test_what_is_trained_is_what_has_thawed() -> None:
    task = fake_task("classification").task
    few, all_of_it = (
        METHOD.fit(task, fake_backbone(), METHOD.Config(epochs=6, depth=depth), Context("thaw", CPU)).footprint()
        for depth in (1, None)
    )
    assert few.trainable < all_of_it.trainable == all_of_it.total


def test_rates_fall_with_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(METHOD, "train_classifier", lambda model, groups, *rest, **more: found.extend(groups))
    config = METHOD.Config(lr=0.08, decay=0.5, head_multiplier=3.0)
    METHOD.fit(fake_task("classification").task, fake_backbone(), config, Context(random_root="rates", device=CPU))
    assert sorted({group["lr"] for group in found}) == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.24])


def test_too_few_epochs_for_the_stages_are_refused_with_both_numbers() -> None:
    fake = fake_task("classification")
    with pytest.raises(UserError, match=r"5 stages, which take 10 epochs of the 9") as caught:
        METHOD.fit(fake.task, fake_backbone(), METHOD.Config(epochs=9, epochs_per_stage=2), Context("thaw", CPU))
    assert "head_first" in caught.value.hint


@pytest.mark.parametrize("end", [1, 2, 3, 4, 5])
def test_a_fit_killed_after_any_epoch_continues_bit_for_bit(end: int, tmp_path: Path) -> None:
    """Five of the six epochs end where another group thaws."""
    case = Case("gradual_unfreezing", "classification", params={"epochs": 6})
    straight = contract.run(case, tmp_path / "straight")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def kill(done: int, total: int) -> None:
        if done == end:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        contract.run(case, tmp_path / "killed", checkpoints=Checkpoints(scratch, interval=0.0), on_epoch=kill)
    resumed = contract.run(case, tmp_path / "again", checkpoints=Checkpoints(scratch, interval=0.0))
    assert torch.equal(straight.logits, resumed.logits)
    assert straight.ctx.curves == resumed.ctx.curves
