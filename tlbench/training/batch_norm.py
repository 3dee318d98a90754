"""Batch normalisation with other statistics than PyTorch's, put in place of a network's own layers."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.training.collectives import differentiable_all_reduce


class BatchNormVariant(_BatchNorm):
    """The base of layers that take the place of ``nn.BatchNorm1d``, ``2d`` and ``3d``; see :func:`replace_batch_norm`.

    A subclass has no state of its own, so that the class of a layer can be changed in place.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def fused_activation(self, x: Tensor) -> Tensor:
        """Apply dropout and activation of timm's layers that fuse them with the normalisation; others have none."""
        for name in ("drop", "act"):
            layer = self._modules.get(name)
            x = layer(x) if layer is not None else x
        return x


Variant = TypeVar("Variant", bound=BatchNormVariant)


def replace_batch_norm(module: nn.Module, variant: type[Variant]) -> list[Variant]:
    """Change the class of all batch normalisation layers of a module, in place, and return the layers of that class.

    Parameters and buffers stay as they are, under the same names.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    layers: list[nn.Module] = [layer for layer in module.modules() if isinstance(layer, kinds)]
    for layer in layers:
        layer.__class__ = variant
    return [layer for layer in module.modules() if isinstance(layer, variant)]


class GlobalBatchNorm(BatchNormVariant):
    """Batch normalisation over the global batch, with gradients across processes, on any device.

    ``torch.nn.SyncBatchNorm`` does the same on GPUs only. Statistics are computed from sums over all processes; shards
    of unequal (even zero) size are weighted by their size.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input (B, C, ...)."""
        return self.fused_activation(self._normalise(input) if self.training else super().forward(input))

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
        self._update_running_statistics(mean.detach(), variance.detach(), count.detach())
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        out = out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out
        return out.to(lower) if lower else out

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / (count - 1), momentum)


def use_global_batch_norm(module: nn.Module) -> None:
    """Replace the batch normalisation layers of a module, in place, by :class:`GlobalBatchNorm`."""
    replace_batch_norm(module, GlobalBatchNorm)
