"""What produced a result: versions, host, hardware, git commit, execution, how inputs were read, marks of its code."""

from __future__ import annotations

import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from tlbench.backbones.image_recipe import input_text
from tlbench.core.cell import Cell
from tlbench.plugins.staleness import InstalledCode
from tlbench.worker.worker_resources import WorkerResources


def provenance(cell: Cell, resources: WorkerResources) -> dict[str, Any]:
    """Return what a record says of how its cell was run here.

    Args:
        cell: The cell.
        resources: The process that runs it.
    """
    execution = {
        "device": resources.device.type,
        "threads": torch.get_num_threads(),
        "workers": resources.group.world_size,
        "precision": resources.precision,
    }
    read_as = input_text(cell.backbone.info.recipe)
    return machine_facts() | sources(cell) | execution | ({"input": read_as} if read_as else {})


@cache
def machine_facts() -> dict[str, Any]:
    """Return the versions of Python and packages, host, hardware, and the git commit of tlbench."""
    packages = ("tlbench", "torch", "torchvision", "tokenizers", "ray", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        **{name: version(name) for name in ("timm", "transformers") if find_spec(name) is not None},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git here
        return ""


def sources(cell: Cell) -> dict[str, str]:
    """Return the marks of the code behind a cell, by which a result is known to be stale."""
    return InstalledCode().marks(cell).as_provenance
