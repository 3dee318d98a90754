"""Carries weights files between machines that share no artifact folder: the worker that needs one fetches it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from tlbench.store.artifacts import Artifacts, artifact_folder
from tlbench.worker.artifact_jobs import ArtifactName
from tlbench.worker.artifact_transfer import read_cost_file, read_weights_file, store_weights_file


@dataclass(frozen=True)
class RemoteCopy:
    """A weights file on another machine.

    Attributes:
        artifact: Its name.
        node: Ray's id of the machine.
    """

    artifact: ArtifactName
    node: str


def fetch_artifacts(copies: Iterable[RemoteCopy], artifact_root: str, artifacts: Artifacts) -> None:
    """Fetch the weights files that this machine lacks; one that cannot be fetched is left for its job to build.

    A task on the other machine reads the file: workers there may be busy for hours.

    Args:
        copies: Where files are.
        artifact_root: The artifact folder of machines that do not name their own.
        artifacts: This machine's artifact folder.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    for copy in copies:
        if artifacts.has(*copy.artifact):
            continue
        there = NodeAffinitySchedulingStrategy(copy.node, soft=False)
        read = ray.remote(_read).options(num_cpus=0, scheduling_strategy=there)
        with suppress(ray.exceptions.RayError):
            # Not ray.get: that would let go of this worker's CPUs meanwhile, and another worker would take them.
            content, cost = read.remote(artifact_root, copy.artifact).future().result()
            store_weights_file(artifacts, copy.artifact, content, cost)


def _read(artifact_root: str, artifact: ArtifactName) -> tuple[bytes, bytes]:
    artifacts = Artifacts(artifact_folder(artifact_root))
    return read_weights_file(artifacts, artifact), read_cost_file(artifacts, artifact)
