"""Two processes continue and fit together, then the first alone solves the test: nothing may wait for the second."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, FakeTask, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.process_group import ProcessGroup

WORLD, PATIENCE = 2, timedelta(seconds=60)


def _continue(ctx: Context, total: int) -> tuple[list[int], float]:
    """Count epochs in a weight; return which were still to do, and the weight."""
    model, done = torch.nn.Linear(1, 1, bias=False), []
    torch.nn.init.zeros_(model.weight)
    for epoch in ctx.epochs(total, model):
        done.append(epoch)
        with torch.no_grad():
            model.weight.add_(1)
    return done, model.weight.item()


def _fit(fake: FakeTask, rank: int, world: int) -> Any:
    """Fine-tuning, which trains in every episode; in validation it does so in both processes."""
    method = registry.declaration("methods", "finetune").load()
    ctx = Context(random_root="c", device=CPU, group=ProcessGroup(rank, world))
    return method.fit(fake.task, fake_backbone(), method.Config(epochs=1), ctx)


def _solve(learner: Any, fake: FakeTask) -> Tensor:
    x, labels = torch.from_numpy(fake.test.x)[None, ::5], torch.from_numpy(fake.test.labels)[None, ::5]
    logits: Tensor = learner.classify(x, labels, torch.from_numpy(fake.test.x)[None, 1::5], 2)
    return logits


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(meeting, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=PATIENCE)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What this process, the first of two, has continued and fitted; the second has left."""
    folder = tmp_path_factory.mktemp("group")
    meeting = str(folder / "meeting")
    _continue(Context(random_root="c", device=CPU, checkpoints=Checkpoints(folder, interval=0.0)), 2)
    child = subprocess.Popen([sys.executable, __file__, meeting])
    try:
        _join(0, meeting)
        continued = _continue(
            Context(random_root="c", device=CPU, group=ProcessGroup(0, WORLD), checkpoints=Checkpoints(folder)), 4
        )
        fitted = _fit(fake_task("episodic"), 0, WORLD)
        dist.barrier()
        assert child.wait(60) == 0
        yield continued, fitted
    finally:
        child.kill()
        child.wait()
        if dist.is_initialized():
            dist.destroy_process_group()


def test_both_processes_continue_from_the_first_ones_checkpoint(first: Any) -> None:
    """The second has no checkpoint, and ends in error unless it has continued all the same."""
    assert first[0] == ([2, 3], 4.0)


def test_the_first_process_solves_episodes_by_itself(first: Any) -> None:
    fake = fake_task("episodic")
    assert torch.equal(_solve(first[1], fake), _solve(_fit(fake, 0, 1), fake))


if __name__ == "__main__":
    torch.set_num_threads(1)
    _join(1, sys.argv[1])
    found = _continue(
        Context(
            random_root="c",
            device=CPU,
            group=ProcessGroup(1, WORLD),
            checkpoints=Checkpoints(Path(sys.argv[1]).parent / "none"),
        ),
        4,
    )
    assert found == ([2, 3], 4.0)
    _fit(fake_task("episodic"), 1, WORLD)
    dist.barrier()
    dist.destroy_process_group()
