"""Every method that trains, in two processes at the same global batch: it must give what one process gives."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import PRETRAIN, Case
from tlbench.training.process_group import ProcessGroup

WORLD = 2
SHORT: dict[str, dict[str, Any]] = {
    "gradual_unfreezing": {"epochs": 3, "order": "head_first"},
    "setfit": {"iterations": 2, "C": 1.0},  # a large one magnifies the rounding of features
}


FEW = {"epochs": 2, "episodes": 4, "steps": 4, "check_every": 2, "checks": 5}


def _short(method: str) -> dict[str, Any]:
    fields = registry.declaration("methods", method).settings.model_fields
    return SHORT.get(method, {name: value for name, value in FEW.items() if name in fields})


def _cases() -> dict[str, Case]:
    """Every trained role."""
    cases = {}
    for case in contract.cases():
        trains = not registry.declaration("methods", case.method).constants.FROZEN_BACKBONE
        if trains and case.role in ("classification", "episodic", "adaptation", PRETRAIN):
            cases[str(case)] = replace(case, params=_short(case.method))
    return cases


def _fit(case: Case, rank: int, world: int) -> dict[str, Tensor]:
    """In double precision, so that the order of sums does not decide near ties of max-pooling."""
    torch.set_default_dtype(torch.float64)
    try:
        with tempfile.TemporaryDirectory() as folder:
            fitted = contract.run(case, Path(folder), group=ProcessGroup(rank, world))
    finally:
        torch.set_default_dtype(torch.float32)
    curves = {name: torch.tensor([value for _, value in points]) for name, points in fitted.ctx.curves.items()}
    return {"logits": fitted.logits.detach(), **curves}


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(meeting, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=120))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What the first of the two processes has after all fits: this one; a child is the second."""
    meeting = str(tmp_path_factory.mktemp("group") / "meeting")
    child = subprocess.Popen([sys.executable, __file__, meeting])
    try:
        _join(0, meeting)
        found = {name: _fit(case, 0, WORLD) for name, case in _cases().items()}
        dist.barrier()
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        if dist.is_initialized():
            dist.destroy_process_group()
    return found


@pytest.mark.parametrize("name", sorted(_cases()))
def test_two_processes_give_what_one_gives(name: str, both: dict[str, dict[str, Tensor]]) -> None:
    alone = _fit(_cases()[name], 0, 1)
    assert alone.keys() == both[name].keys()
    for key, value in alone.items():
        torch.testing.assert_close({key: both[name][key]}, {key: value}, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _join(1, sys.argv[1])
    for each in _cases().values():
        _fit(each, 1, WORLD)
    dist.barrier()
    dist.destroy_process_group()
