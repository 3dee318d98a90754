"""What the processes of a data-parallel training tell each other: sums, and the rows that each has computed."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from tlbench.training.context import Context
from tlbench.training.distributed import global_sum


@torch.no_grad()
def total(values: Tensor, ctx: Context) -> Tensor:
    """Return the sum of a tensor over all processes, the same in each to the last bit; without gradient."""
    values = values.detach()
    if ctx.world > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def join(piece: Tensor, count: int, ctx: Context) -> Tensor:
    """Return the rows of all processes (count, D) from this one's piece of them, as :meth:`Context.shard` cuts it.

    When every process then computes the same mean loss from all rows, the gradients that data-parallel training
    averages are those of one process.
    """
    if ctx.world == 1:
        return piece
    mine = ctx.shard(torch.arange(count, device=piece.device))
    return global_sum(piece.new_zeros(count, piece.shape[1]).index_copy(0, mine, piece))
