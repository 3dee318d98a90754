"""Data-parallel training that equals one process at the same global batch, on GPUs (NCCL) and CPUs (gloo)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel


class _GlobalSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _GlobalSum.forward(ctx, gradients[0])


def differentiable_all_reduce(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; its gradient is the sum of the processes' gradients."""
    total: Tensor = _GlobalSum.apply(value)
    return total


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation over the global batch, with gradients across processes, on any device.

    ``torch.nn.SyncBatchNorm`` does the same on GPUs alone. Statistics are computed from global sums; pieces of
    unequal (even zero) size are weighted by their size.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Return normalised (B, C, ...)."""
        return self._follow(self._normalise(input) if self.training else super().forward(input))

    def _normalise(self, input: Tensor) -> Tensor:
        lower = input.dtype if input.dtype in (torch.bfloat16, torch.float16) else None
        input = input.float() if lower else input
        axes = [0, *range(2, input.dim())]
        shape = [1, -1] + [1] * (input.dim() - 2)
        local = input.new_tensor([input.numel() / input.shape[1]])
        sums = differentiable_all_reduce(torch.cat([input.sum(axes), local]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = input - mean.view(shape)
        variance = differentiable_all_reduce(centred.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach(), count.detach())
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        out = out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out
        return out.to(lower) if lower else out

    def _follow(self, x: Tensor) -> Tensor:
        """Apply what timm's layers of normalisation with activation hold besides."""
        for name in ("drop", "act"):
            x = self._modules[name](x) if name in self._modules else x
        return x

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / (count - 1), momentum)


def data_parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """Return ``module`` wrapped for training over all processes of the default group.

    The module's own batch normalisation layers are switched, in place, to global statistics.
    """
    if not dist.is_initialized():
        raise RuntimeError("no process group: data-parallel training runs inside Ray Train")
    use_global_batch_norm(module)
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)


def use_global_batch_norm(module: nn.Module) -> None:
    """Switch batch normalisation layers, in place, to global statistics; parameters and buffers keep their names."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            layer.__class__ = GlobalBatchNorm


def broadcast_from_rank_zero(value: Any) -> Any:
    """Return rank 0's value in every process; the value itself where there is one process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
