"""How the learning rate moves over the steps of a training, as a factor of its base value."""

from __future__ import annotations

import math

from tlbench.core.config import Schedule

_SLANT = 32  # of slanted triangles: the peak over where they start and end
_START, _END = 25, 25e4  # of one cycle: the peak over where it starts, and over where it ends
_INVERSE_PACE, _INVERSE_POWER = 10, 0.75


def rate_factor(schedule: Schedule, step: int, steps: int, rise: float) -> float:
    """Return the factor of a named schedule at a step.

    Args:
        schedule: ``cosine``, ``linear``, ``slanted_triangular`` or ``one_cycle``.
        step: Steps taken so far, 0 ... steps - 1.
        steps: Steps in all.
        rise: Share of the steps over which the rate rises, in [0, 1).
    """
    return {
        "cosine": warmup_cosine,
        "linear": warmup_linear,
        "slanted_triangular": slanted_triangular,
        "one_cycle": one_cycle,
    }[schedule](step, steps, rise)


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


def warmup_linear(step: int, steps: int, warmup: float) -> float:
    """Return the factor at a step: a linear rise as in :func:`warmup_cosine`, then a straight fall.

    The fall, too, would reach 0 one step after the last.

    Args:
        step: Steps taken so far, 0 ... steps - 1.
        steps: Steps in all.
        warmup: Share of the steps that the rise takes, in [0, 1).
    """
    rise = int(warmup * steps)
    return (step + 1) / rise if step < rise else (steps - step) / (steps - rise)


def slanted_triangular(step: int, steps: int, cut: float) -> float:
    """Return the factor of slanted triangular rates: a short straight rise, then a long straight fall.

    Howard and Ruder 2018, arXiv:1801.06146, section 3.2; both ends lie at 1/32 of the peak.

    Args:
        step: Steps taken so far, 0 ... steps - 1.
        steps: Steps in all.
        cut: Share of the steps that the rise takes, in [0, 1).
    """
    peak = int(cut * steps)
    height = step / peak if step < peak else 1 - (step - peak) / (steps - peak)
    return (1 + height * (_SLANT - 1)) / _SLANT


def one_cycle(step: int, steps: int, rise: float) -> float:
    """Return the factor of a one-cycle policy: half a cosine up, half a cosine down to almost nothing.

    Smith and Topin 2017, "Super-Convergence", arXiv:1708.07120, with the constants that most libraries took: it
    starts at 1/25 of the peak, and ends on its last step at 1/250,000. Only the rate moves, not the momentum.

    Args:
        step: Steps taken so far, 0 ... steps - 1.
        steps: Steps in all.
        rise: Share of the steps that the rise takes, in [0, 1).
    """
    peak, last = max(rise * steps - 1, 0.0), steps - 1
    if step <= peak:
        low, high, share = 1 / _START, 1.0, step / peak if peak else 1.0
    else:
        low, high, share = 1.0, 1 / _END, (step - peak) / (last - peak)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * share))


def inverse_decay(progress: float) -> float:
    """Return the factor (1 + 10 p)^-0.75: fast at first, then slower and slower, never to nothing.

    Ganin et al. 2016, arXiv:1505.07818, section 5.2.2.

    Args:
        progress: p, the steps taken over the steps in all, in [0, 1].
    """
    return (1 + _INVERSE_PACE * progress) ** -_INVERSE_POWER


def step_halving(step: int, every: int) -> float:
    """Return the factor at a step when the rate is halved every ``every`` steps."""
    return 0.5 ** (step // every)
