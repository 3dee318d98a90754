"""Learning rate schedules: the factor of the base learning rate at each step of a training."""

from __future__ import annotations

import math

from tlbench.core.config import Schedule

_SLANTED_RATIO = 32  # slanted triangular: peak over initial and final rate
_CYCLE_START_RATIO, _CYCLE_END_RATIO = 25, 25e4  # one cycle: peak over initial rate, and over final rate
_INVERSE_SPEED, _INVERSE_POWER = 10, 0.75


def rate_factor(schedule: Schedule, step: int, steps: int, warmup: float) -> float:
    """Return the factor of a named schedule at a step.

    Args:
        schedule: ``cosine``, ``linear``, ``slanted_triangular`` or ``one_cycle``.
        step: Number of steps taken so far, 0 ... steps - 1.
        steps: Total number of steps.
        warmup: Fraction of the steps over which the rate rises, in [0, 1).
    """
    return {
        "cosine": warmup_cosine,
        "linear": warmup_linear,
        "slanted_triangular": slanted_triangular,
        "one_cycle": one_cycle,
    }[schedule](step, steps, warmup)


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Return the factor of linear warm-up and cosine decay.

    Warm-up reaches 1 on its last step; the decay would reach 0 one step after the last.

    Args:
        step: Number of steps taken so far, 0 ... steps - 1.
        steps: Total number of steps.
        warmup: Fraction of the steps that warm-up takes, in [0, 1).
    """
    rise = int(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def warmup_linear(step: int, steps: int, warmup: float) -> float:
    """Return the factor of linear warm-up, as in :func:`warmup_cosine`, and linear decay.

    The decay, too, would reach 0 one step after the last.

    Args:
        step: Number of steps taken so far, 0 ... steps - 1.
        steps: Total number of steps.
        warmup: Fraction of the steps that warm-up takes, in [0, 1).
    """
    rise = int(warmup * steps)
    return (step + 1) / rise if step < rise else (steps - step) / (steps - rise)


def slanted_triangular(step: int, steps: int, warmup: float) -> float:
    """Return the factor of slanted triangular learning rates: a short linear rise, then a long linear decay.

    Howard and Ruder 2018, arXiv:1801.06146, section 3.2; both ends are at 1/32 of the peak.

    Args:
        step: Number of steps taken so far, 0 ... steps - 1.
        steps: Total number of steps.
        warmup: Fraction of the steps that the rise takes (the paper's cut_frac), in [0, 1).
    """
    peak = int(warmup * steps)
    height = step / peak if step < peak else 1 - (step - peak) / (steps - peak)
    return (1 + height * (_SLANTED_RATIO - 1)) / _SLANTED_RATIO


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Return the factor of the one-cycle policy: a cosine-shaped rise, then a cosine-shaped decay to almost zero.

    Smith and Topin 2017, "Super-Convergence", arXiv:1708.07120, with the constants of most libraries: it starts at 1/25
    of the peak, and ends on its last step at 1/250,000. Only the learning rate changes, not the momentum.

    Args:
        step: Number of steps taken so far, 0 ... steps - 1.
        steps: Total number of steps.
        warmup: Fraction of the steps that the rise takes, in [0, 1).
    """
    peak, last = max(warmup * steps - 1, 0.0), steps - 1
    if step <= peak:
        low, high, share = 1 / _CYCLE_START_RATIO, 1.0, step / peak if peak else 1.0
    else:
        low, high, share = 1.0, 1 / _CYCLE_END_RATIO, (step - peak) / (last - peak)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * share))


def inverse_decay(progress: float) -> float:
    """Return the factor (1 + 10 p)^-0.75, which falls fast at first and then more and more slowly.

    Ganin et al. 2016, arXiv:1505.07818, section 5.2.2.

    Args:
        progress: p, the steps taken over the total number of steps, in [0, 1].
    """
    return float((1 + _INVERSE_SPEED * progress) ** -_INVERSE_POWER)


def step_halving(step: int, every: int) -> float:
    """Return the factor of a learning rate that is halved every ``every`` steps."""
    return 0.5 ** (step // every)
