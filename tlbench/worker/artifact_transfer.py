"""Weights files as bytes, for machines that share no artifact folder: reading one, and storing one that was sent.

How the bytes travel is the caller's business. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from tlbench.store.artifacts import Artifacts
from tlbench.worker.artifact_jobs import ArtifactName

WEIGHTS_FILE = "weights.safetensors"


def weights_file(artifacts: Artifacts, name: ArtifactName) -> Path:
    """Return the path of a weights file, whether it exists or not."""
    return artifacts.path(*name) / WEIGHTS_FILE


def read_weights_file(artifacts: Artifacts, name: ArtifactName) -> bytes:
    """Return the content of a weights file.

    Raises:
        FileNotFoundError: This machine does not have it.
    """
    return weights_file(artifacts, name).read_bytes()


def store_weights_file(artifacts: Artifacts, name: ArtifactName, content: bytes) -> None:
    """Store a weights file that was built on another machine; one that is already here stays."""

    def write(folder: Path) -> None:
        (folder / WEIGHTS_FILE).write_bytes(content)

    artifacts.get(*name, write)
