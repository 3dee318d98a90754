"""The ramp by which the weight of an alignment loss rises while the classifier is still learning."""

from __future__ import annotations

import math

_STEEPNESS = 10


def alignment_ramp(progress: float) -> float:
    """Return 2 / (1 + exp(-10 p)) - 1: 0 at the start, almost 1 from half of the training on.

    Ganin et al. 2016, arXiv:1505.07818, section 5.2.2.

    Args:
        progress: p, the steps taken over the total number of steps, in [0, 1].
    """
    return math.tanh(_STEEPNESS * progress / 2)
