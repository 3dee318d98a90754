"""How fast the alignment of two domains sets in, while the classifier is still learning what to align."""

from __future__ import annotations

import math

_STEEPNESS = 10


def alignment_ramp(progress: float) -> float:
    """Return 2 / (1 + exp(-10 p)) - 1: nothing at the start, almost 1 from half of the training on.

    Ganin et al. 2016, arXiv:1505.07818, section 5.2.2.

    Args:
        progress: p, the steps taken over the steps in all, in [0, 1].
    """
    return math.tanh(_STEEPNESS * progress / 2)
