"""Seeds torch's global generators, for layers that draw from them (dropout, initialisation)."""

from __future__ import annotations

import torch


def reseed(seed: int) -> None:
    """Seed the CPU's generator, and those of the GPUs if this process uses any.

    ``torch.manual_seed`` does the same, but where CUDA is not initialised it also records a stack trace for deferred
    seeding, which takes longer than fitting a small cell.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
