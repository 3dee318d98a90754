"""What the processes of a data-parallel training tell each other: sums, and the rows that each has computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from tlbench.training.context import Context
from tlbench.training.data_parallel import differentiable_all_reduce


@torch.no_grad()
def all_reduce_sum(values: Tensor, ctx: Context) -> Tensor:
    """Return the sum of a tensor over all processes, the same in each to the last bit; without gradient."""
    values = values.detach()
    if ctx.world > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def all_reduce_gradients(parameters: Sequence[Tensor], ctx: Context) -> None:
    """Put the sum over all processes in the place of each parameter's gradient; none counts as zero."""
    if ctx.world == 1:
        return
    parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    sums = all_reduce_sum(torch.cat([part.flatten() for part in parts]), ctx).split([part.numel() for part in parts])
    for parameter, found in zip(parameters, sums, strict=True):
        parameter.grad = found.view_as(parameter)


def gather_rows(piece: Tensor, count: int, ctx: Context) -> Tensor:
    """Return the rows of all processes (count, D) from this one's piece of them, as :meth:`Context.shard` cuts it.

    When every process then computes the same mean loss from all rows, the gradients that data-parallel training
    averages are those of one process.
    """
    if ctx.world == 1:
        return piece
    mine = ctx.shard(torch.arange(count, device=piece.device))
    return differentiable_all_reduce(piece.new_zeros(count, piece.shape[1]).index_copy(0, mine, piece))
