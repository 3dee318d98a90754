"""How the learning rate moves over the steps of a training, as a factor of its base value."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Return the factor at a step: a linear rise over the first ``warmup`` share, then half a cosine down.

    The rise ends at 1 on its last step; the fall would reach 0 one step after the last.

    Args:
        step: Steps taken so far, 0 ... steps - 1.
        steps: Steps in all.
        warmup: Share of the steps that the rise takes, in [0, 1).
    """
    rise = int(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def halving(step: int, every: int) -> float:
    """Return the factor at a step when the rate is halved every ``every`` steps."""
    return 0.5 ** (step // every)
