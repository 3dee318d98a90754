"""Methods whose episodes change the network, in two processes at the same episodes: what one process gives."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tlbench.testing import contract
from tlbench.testing.contract import Case
from tlbench.training.process_group import ProcessGroup

WORLD = 2
SHORT = {"episodes": 10, "check_every": 5, "per_step": 3, "checks": 5}  # steps of 3 and of 2 episodes
CASES = {
    "maml": Case("maml", "episodic", params=SHORT),
    "maml, one episode a step": Case("maml", "episodic", params={**SHORT, "per_step": 1, "episodes": 4}),
    "maml, all options": Case(
        "maml",
        "episodic",
        params={
            **SHORT,
            "learn_rates": True,
            "multi_step_loss": True,
            "inner_steps": 2,
            "statistics": "support",
            "clamp": 0.05,
        },
    ),
    "anil": Case("anil", "episodic", params=SHORT),
}


def _fit(case: Case, rank: int, world: int) -> dict[str, Tensor]:
    """In double precision, so that the order of sums does not decide near ties of max-pooling."""
    torch.set_default_dtype(torch.float64)
    try:
        with tempfile.TemporaryDirectory() as folder:
            fitted = contract.run(case, Path(folder), group=ProcessGroup(rank, world))
    finally:
        torch.set_default_dtype(torch.float32)
    curves = {name: torch.tensor([value for _, value in points]) for name, points in fitted.ctx.curves.items()}
    return {"logits": fitted.logits, **fitted.backbone.state_dict(), **curves}


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(meeting, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=120))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What the first of the two processes has after all fits: this one; a child is the second."""
    folder = tmp_path_factory.mktemp("group")
    meeting, results = str(folder / "meeting"), folder / "second.pt"
    child = subprocess.Popen([sys.executable, __file__, meeting, str(results)])
    try:
        _join(0, meeting)
        found = {name: _fit(case, 0, WORLD) for name, case in CASES.items()}
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


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_what_one_gives(name: str, both: dict[str, dict[str, Tensor]]) -> None:
    alone = _fit(CASES[name], 0, 1)
    assert alone.keys() == both[name].keys()
    for key, value in alone.items():
        torch.testing.assert_close({key: both[name][key]}, {key: value}, rtol=1e-6, atol=1e-6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _join(1, sys.argv[1])
    torch.save({name: _fit(case, 1, WORLD) for name, case in CASES.items()}, sys.argv[2])
    dist.barrier()
    dist.destroy_process_group()
