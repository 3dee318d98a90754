"""Data-parallel training that equals one process at the same global batch, on GPUs (NCCL) and CPUs (gloo)."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tlbench.training.batch_norm import use_global_batch_norm


def data_parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module wrapped for training over all processes of the default process group.

    The module's own batch normalisation layers are replaced, in place, by ones with global statistics.

    Args:
        module: The module to train, on its device.
        device: That device.

    Raises:
        RuntimeError: There is no default process group.
    """
    if not dist.is_initialized():
        raise RuntimeError("no process group: data-parallel training runs inside Ray Train")
    use_global_batch_norm(module)
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)
