"""What a result was produced by: versions, host, hardware, git commit, and the source of method and protocol."""

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

from tlbench.core.cell import Cell, method_source
from tlbench.plugins import registry


@cache
def machine() -> dict[str, Any]:
    """Return what this process runs on: versions, host, hardware, git commit."""
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
    """Return the hashes of the method's and the protocol's source files, by which a result is known to be stale."""
    return {
        "method_source": method_source(
            registry.declaration("methods", cell.method.name).source, cell.method, cell.backbone
        ),
        "protocol_source": registry.declaration("protocols", cell.protocol.name).source,
    }
