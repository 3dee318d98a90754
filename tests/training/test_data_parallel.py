"""Two processes at the same global batch equal one: layers, gradients, running statistics, whole trainings."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib.util import find_spec

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tlbench.core.config import TrainingConfig
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.data_parallel import data_parallel
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.process_group import ProcessGroup
from tlbench.training.supervised_loop import train_classifier

WORLD = 2


RECIPE = TrainingConfig(
    epochs=2,
    batch_size=15,  # odd, so that the shards differ in size
    optimizer="sgd",
    warmup=0.0,
    smoothing=0.1,
    augment="shift",
)


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(meeting, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=60))


def _context(rank: int, world: int) -> Context:
    return Context(random_root="parallel-test", device=CPU, group=ProcessGroup(rank, world))


def _normalise(rank: int, world: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> dict[str, torch.Tensor]:
    """A batch normalisation inside a small network, on 7 examples."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), norm(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)).double()
    x, y = torch.randn(7, 2, 4, 4, dtype=torch.float64), torch.randint(0, 4, (7,))
    ctx = _context(rank, world)
    wrapped = data_parallel(net, CPU) if world > 1 else net
    for _ in range(3):
        losses = nn.functional.cross_entropy(wrapped(ctx.shard(x)), ctx.shard(y), reduction="none")
        net.zero_grad()
        ctx.global_mean(losses, 7).backward()
    grads = {f"grad {name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return grads | dict(net.state_dict())


def _normalise_and_activate(rank: int, world: int) -> dict[str, torch.Tensor]:
    """timm's batch normalisation holds its activation."""
    from timm.layers import BatchNormAct2d

    return _normalise(rank, world, partial(BatchNormAct2d, act_layer=nn.SiLU))


def _classifier(rank: int, world: int) -> dict[str, torch.Tensor]:
    fake = fake_task("classification")
    torch.manual_seed(0)
    model, ctx = Classifier(fake_backbone(), 10).double(), _context(rank, world)
    groups = parameter_groups([(model.backbone.parameters(), 0.05), (model.head.parameters(), 0.1)], 1e-3)
    train_classifier(model, groups, fake.task.train, fake.task.val, RECIPE, ctx)
    curves = {name: torch.tensor(points, dtype=torch.float64) for name, points in ctx.curves.items()}
    return dict(model.state_dict()) | curves


def _protonet(rank: int, world: int) -> dict[str, torch.Tensor]:
    fake = fake_task("episodic")
    backbone, ctx = fake_backbone().double(), _context(rank, world)
    method = registry.declaration("methods", "protonet").load()
    method.fit(fake.task, backbone, method.Config(episodes=4, check_every=2, checks=5, ways=5, queries=2), ctx)
    curves = {name: torch.tensor(points, dtype=torch.float64) for name, points in ctx.curves.items()}
    return dict(backbone.state_dict()) | curves


TRAININGS = {"normalise": _normalise, "classifier": _classifier, "protonet": _protonet}
if find_spec("timm") is not None:
    TRAININGS["normalise and activate"] = _normalise_and_activate


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """What the two processes have after all trainings: this one is rank 0, a child is rank 1."""
    folder = tmp_path_factory.mktemp("group")
    meeting, results = str(folder / "meeting"), folder / "rank1.pt"
    child = subprocess.Popen([sys.executable, __file__, meeting, str(results)])
    try:
        _join(0, meeting)
        found = {name: copy.deepcopy(train(0, WORLD)) for name, train in TRAININGS.items()}
        dist.barrier()
        assert child.wait(60) == 0
        other = torch.load(results, weights_only=True)
        for name, state in found.items():
            assert all(torch.equal(state[key], other[name][key]) for key in state), "the processes have drifted apart"
    finally:
        child.kill()
        child.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
    return found


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_two_processes_equal_one(name: str, both: dict[str, dict[str, torch.Tensor]]) -> None:
    alone = TRAININGS[name](0, 1)
    assert alone.keys() == both[name].keys()
    assert any("running_var" in key for key in alone)
    for key, value in alone.items():
        # Adam takes steps on rounding errors, and validation keeps embeddings in single precision.
        tolerance = 1e-6 if name == "protonet" else 1e-9
        torch.testing.assert_close({key: both[name][key]}, {key: value}, rtol=tolerance, atol=tolerance)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _join(1, sys.argv[1])
    torch.save({name: train(1, WORLD) for name, train in TRAININGS.items()}, sys.argv[2])
    dist.barrier()
    dist.destroy_process_group()
