"""Seeds torch's global generators, for layers that draw from them (dropout, initialisation)."""

from __future__ import annotations

import torch


def reseed(seed: int) -> None:
    """Seed the CPU's generator, and those of the GPUs where this process uses any.

    ``torch.manual_seed`` does the same, but where no GPU is in use it also stores a stack trace for later, which takes
    longer than a small cell's whole fit.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
