"""A process that runs cells is prepared in one way: threads, determinism, imports, device and artifact folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STARTED = """
import json, os, sys
from tlbench.core.resources import Resources
from tlbench.worker.process import start_worker_process, SLOW_IMPORTS

before = "torch" in sys.modules
root, own, options = sys.argv[1:]
if own:
    os.environ["TLBENCH_ARTIFACTS"] = own
options = json.loads(options)
preload = {"preload": ()} if options.pop("bare", False) else {}
if "group" in options:
    from tlbench.training.process_group import ProcessGroup
    options["group"] = ProcessGroup(*options["group"])
cache = start_worker_process(root, Resources(cpus=2, precision="bfloat16"), **options, **preload)

import torch

print(json.dumps({
    "torch before": before,
    "environment": [os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]],
    "threads": torch.get_num_threads(),
    "deterministic": torch.backends.cudnn.deterministic,
    "imported": [name in sys.modules for name in SLOW_IMPORTS],
    "device": str(cache.device),
    "root": str(cache.artifacts.root),
    "precision": cache.precision,
    "group": [cache.group.rank, cache.group.world_size],
}))
"""


def started(root: Path, own: str = "", **options: Any) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != "TLBENCH_ARTIFACTS"}
    command = [sys.executable, "-c", STARTED, str(root), own, json.dumps(options)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    facts: dict[str, Any] = json.loads(found.stdout)
    return facts


def test_a_process_is_prepared_before_torch_is_imported(tmp_path: Path) -> None:
    assert started(tmp_path) == {
        "torch before": False,
        "environment": ["2", "2"],
        "threads": 2,
        "deterministic": True,
        "imported": [True, True, True],
        "device": "cpu",
        "root": str(tmp_path),
        "precision": "bfloat16",
        "group": [0, 1],
    }


def test_the_machine_may_name_its_own_artifact_folder_and_a_group_its_device(tmp_path: Path) -> None:
    facts = started(tmp_path / "driver", str(tmp_path / "own"), bare=True, device="meta", group=[1, 3])
    assert facts["root"] == str(tmp_path / "own")
    assert facts["device"] == "meta"
    assert facts["group"] == [1, 3]
    assert not facts["imported"][-1]


@pytest.mark.gpu
def test_resources_with_a_gpu_choose_it(tmp_path: Path) -> None:
    from tlbench.core.resources import Resources
    from tlbench.worker.process import start_worker_process

    assert start_worker_process(tmp_path, Resources(gpus=1), preload=()).device.type == "cuda"
