"""The processes that train one cell, or build one artifact, together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """The position of a process in its group, in the terms of ``torch.distributed``.

    Attributes:
        rank: Number of this process, from 0. Only rank 0 writes checkpoints, weights and records.
        world_size: Number of processes in the group.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and whose record counts."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether the group has more than one process."""
        return self.world_size > 1

    def shard(self, batch: Tensor) -> Tensor:
        """Return this process's shard of a global batch (B, ...): contiguous rows; sizes of shards differ by one."""
        return batch.tensor_split(self.world_size)[self.rank]


SINGLE_PROCESS = ProcessGroup()
