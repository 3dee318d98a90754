"""Communication between the processes of a data-parallel training: sums, gathered rows, broadcast objects.

All processes of the group call each function, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tlbench.training.process_group import ProcessGroup

T = TypeVar("T")


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduce.forward(ctx, gradients[0])


def differentiable_all_reduce(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; its gradient is the sum of the processes' gradients."""
    total: Tensor = _AllReduce.apply(value)
    return total


@torch.no_grad()
def all_reduce_sum(values: Tensor, group: ProcessGroup) -> Tensor:
    """Return the sum of a tensor over all processes, identical in each to the last bit; without gradient."""
    values = values.detach()
    if group.is_distributed:
        values = values.clone()
        dist.all_reduce(values)
    return values


def all_reduce_gradients(parameters: Sequence[Tensor], group: ProcessGroup) -> None:
    """Replace each parameter's gradient by its sum over all processes; a missing gradient counts as zero."""
    if not group.is_distributed:
        return
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    flat = all_reduce_sum(torch.cat([gradient.flatten() for gradient in gradients]), group)
    sums = flat.split([gradient.numel() for gradient in gradients])
    for parameter, gradient in zip(parameters, sums, strict=True):
        # In the parameter's own layout: fused optimisers read both in the order of memory.
        parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter))


def gather_rows(shard: Tensor, count: int, group: ProcessGroup) -> Tensor:
    """Return the rows of all processes (count, D) from this process's shard of them (:meth:`ProcessGroup.shard`).

    When every process then computes the same mean loss from all rows, the gradients that data-parallel training
    averages are those of one process.

    Args:
        shard: This process's rows (n, D).
        count: Number of rows in all processes.
        group: The processes.
    """
    if not group.is_distributed:
        return shard
    positions = group.shard(torch.arange(count, device=shard.device))
    return differentiable_all_reduce(shard.new_zeros(count, shard.shape[1]).index_copy(0, positions, shard))


def broadcast_from_rank_zero(value: T) -> T:
    """Return rank 0's value in every process of the default group; the value itself where there is none."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
