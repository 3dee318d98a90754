"""Weights files as bytes, for machines that share no artifact folder: reading one, and storing one that was sent.

Beside a weights file lies what its training took, which travels with it.

How the bytes travel is the caller's business. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from tlbench.store.artifacts import Artifacts
from tlbench.worker.artifact_jobs import ArtifactName

WEIGHTS_FILE, COST_FILE = "weights.safetensors", "cost.json"


def weights_file(artifacts: Artifacts, name: ArtifactName) -> Path:
    """Return the path of a weights file, whether it exists or not."""
    return artifacts.path(*name) / WEIGHTS_FILE


def cost_file(artifacts: Artifacts, name: ArtifactName) -> Path:
    """Return the path of the file that says what the training took; older artifacts have none."""
    return artifacts.path(*name) / COST_FILE


def read_weights_file(artifacts: Artifacts, name: ArtifactName) -> bytes:
    """Return the content of a weights file.

    Raises:
        FileNotFoundError: This machine does not have it.
    """
    return weights_file(artifacts, name).read_bytes()


def read_cost_file(artifacts: Artifacts, name: ArtifactName) -> bytes:
    """Return what the training took, as it is stored; nothing where that is not known."""
    file = cost_file(artifacts, name)
    return file.read_bytes() if file.is_file() else b""


def store_weights_file(artifacts: Artifacts, name: ArtifactName, content: bytes, cost: bytes = b"") -> None:
    """Store a weights file that was built on another machine; one that is already here stays.

    Args:
        artifacts: This machine's artifact folder.
        name: The artifact.
        content: Content of the file.
        cost: From :func:`read_cost_file`.
    """

    def write(folder: Path) -> None:
        (folder / WEIGHTS_FILE).write_bytes(content)
        if cost:
            (folder / COST_FILE).write_bytes(cost)

    artifacts.get(*name, write)
