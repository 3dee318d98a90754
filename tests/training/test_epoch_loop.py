"""The loop over epochs where a training is cut into legs: what is carried over, and what begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tlbench.core.config import Optimizer
from tlbench.testing.fakes import CPU
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoint, Checkpoints
from tlbench.training.parameter_groups import make_optimizer, parameter_groups, scale_rates

TOTAL = 7
RATES, DECAYS = (0.1, 0.03), (0.2, 0.01)


def epoch_of(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    x = torch.randn(8, 3, dtype=torch.float64)  # from the global generator, which each epoch seeds
    scale_rates(optimizer, 1 - epoch / TOTAL)
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def started(name: Optimizer, leg: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    return model, make_optimizer(name, parameter_groups([(model.parameters(), RATES[leg])], DECAYS[leg]))


def train(name: Optimizer, leg: int, folder: Path, **more: Any) -> tuple[dict[str, Tensor], Context]:
    model, optimizer = started(name, leg)
    ctx = Context(random_root="legs", device=CPU, checkpoints=Checkpoints(folder), **more)
    epochs = ctx.epochs(TOTAL, model, {"optimizer": optimizer})
    for epoch in epochs:
        epoch_of(model, optimizer, epoch)
        ctx.log(epoch, weight=model.weight.norm().item())
        epochs.score(-abs(epoch - 1))
    return dict(model.state_dict()), ctx


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_leg_with_other_rates_is_a_training_whose_rates_are_turned(name: Optimizer, tmp_path: Path) -> None:
    model, optimizer = started(name, 0)
    for epoch in Context(random_root="legs", device=CPU).epochs(TOTAL, model):
        if epoch == 3:  # a third of seven epochs, rounded up
            for group in optimizer.param_groups:
                group["base_lr"] = RATES[1]
                group["weight_decay"] = DECAYS[1] if group["weight_decay"] else 0.0
        epoch_of(model, optimizer, epoch)
    first, begun = train(name, 0, tmp_path, segment_end=3)
    assert [step for step, _ in begun.curves["weight"]] == [0, 1, 2]
    second, whole = train(name, 1, tmp_path)
    assert [step for step, _ in whole.curves["weight"]] == list(range(TOTAL))
    assert whole.curves["weight"][:3] == begun.curves["weight"]
    for key, value in model.state_dict().items():
        assert torch.equal(second[key], value)
        assert not torch.equal(first[key], value)


def test_a_leg_that_is_over_changes_nothing_and_the_best_epoch_is_remembered(tmp_path: Path) -> None:
    train("sgd", 0, tmp_path, segment_end=6)
    kept = (tmp_path / "fit.ckpt").read_bytes()
    train("sgd", 1, tmp_path, segment_end=3)
    assert (tmp_path / "fit.ckpt").read_bytes() == kept
    model, optimizer = started("sgd", 0)
    epochs = Context(random_root="legs", device=CPU, checkpoints=Checkpoints(tmp_path)).epochs(
        TOTAL, model, {"optimizer": optimizer}
    )
    assert len(list(epochs)) == TOTAL - 5
    assert (epochs.best_epoch, epochs.best_score) == (1, (0,))


def test_a_training_before_the_one_that_is_cut_is_whole_in_the_first_leg(tmp_path: Path) -> None:
    for expected in (TOTAL, 0):
        model, optimizer = started("adamw", 0)
        ctx = Context(random_root="legs", device=CPU, checkpoints=Checkpoints(tmp_path), segment_end=3)
        assert len(list(ctx.epochs(TOTAL, model, {"optimizer": optimizer}, name="pretrain"))) == expected


def test_without_legs_nothing_is_kept_of_a_short_training(tmp_path: Path) -> None:
    train("sgd", 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_groups_that_are_not_those_of_the_leg_before_are_refused(tmp_path: Path) -> None:
    train("adamw", 0, tmp_path, segment_end=3)
    for groups in ([[0, 1]], [[0, 1], []]):
        model, _ = started("adamw", 0)
        parameters = list(model.parameters())
        other = torch.optim.AdamW([{"params": [parameters[n] for n in group]} for group in groups])
        with pytest.raises(ValueError, match=r"doesn't match the size|longer"):
            next(
                iter(
                    Context(random_root="legs", device=CPU, checkpoints=Checkpoints(tmp_path)).epochs(
                        TOTAL, model, {"optimizer": other}
                    )
                )
            )


@pytest.mark.parametrize(
    ("interval", "seconds", "pause"),
    [(5.0, 0.01, 5.0), (5.0, 0.25, 12.5), (5.0, 30.0, 60.0), (0.0, 1.0, 0.0)],
)
def test_large_networks_are_saved_less_often(interval: float, seconds: float, pause: float, tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "x", interval).pause(seconds) == pytest.approx(pause)
