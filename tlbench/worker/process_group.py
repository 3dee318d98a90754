"""A process among those that train one cell, or build one artifact, together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessGroup:
    """The place of a process in its group; the words are those of ``torch.distributed``.

    Attributes:
        rank: Number of this process, from 0. Only rank 0 writes checkpoints, weights and records.
        world: Number of processes in the group.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and whose record counts."""
        return self.rank == 0


SINGLE_PROCESS = ProcessGroup()
