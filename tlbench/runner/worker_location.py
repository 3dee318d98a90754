"""Where a worker process runs, and which artifact folder it sees."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from tlbench.store.artifacts import Artifacts
from tlbench.store.atomic_write import write_new_file


@dataclass(frozen=True)
class WorkerLocation:
    """Where a worker process runs.

    Attributes:
        node: Ray's id of the machine.
        store: Identity of the artifact folder; workers with the same one share files.
        pid: The process.
    """

    node: str
    store: str
    pid: int


def locate_worker(artifacts: Artifacts) -> WorkerLocation:
    """Return the location of this process, which Ray has started.

    Args:
        artifacts: Its artifact folder, which is given an identity where it has none.
    """
    from ray import get_runtime_context

    artifacts.root.mkdir(parents=True, exist_ok=True)
    identity = artifacts.root / ".identity"
    if not identity.exists():
        write_new_file(identity, secrets.token_hex(8))  # one that another process wrote first stays
    return WorkerLocation(get_runtime_context().get_node_id(), identity.read_text(), os.getpid())
