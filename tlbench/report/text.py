"""Numbers as people read them: percent, points, counts, bytes, seconds, p-values."""

from __future__ import annotations

import math

from tlbench.stats.intervals import Estimate

NONE = "–"
TRANSDUCTIVE = "Transductive: an answer may draw on the other queries of its episode. Not comparable with other rows."
BOUNDS = "Upper bounds: they see labels that all others are denied, and are never ranked"
FALLS = (
    "Points of test accuracy between the model that a validator chose and the best one, over settings of equal weight."
)
MINUS = "\N{MINUS SIGN}"


def percent(fraction: float | None) -> str:
    """Return 0.934 as ``93.4``."""
    return NONE if fraction is None else f"{100 * fraction:.1f}"


def points(fraction: float | None) -> str:
    """Return a difference of 0.021 as ``+2.1``, of nothing as ``0.0``."""
    if fraction is None:
        return NONE
    rounded = round(100 * fraction, 1)
    if rounded == 0:
        return "0.0"
    return f"{'+' if rounded > 0 else MINUS}{abs(rounded):.1f}"


def percent_interval(estimate: Estimate) -> str:
    """Return ``92.1 to 94.6``, or a dash where there is no interval."""
    return NONE if estimate.low is None else f"{percent(estimate.low)} to {percent(estimate.high)}"


def points_interval(estimate: Estimate) -> str:
    """Return ``+0.4 to +4.2``, or a dash where there is no interval."""
    return NONE if estimate.low is None else f"{points(estimate.low)} to {points(estimate.high)}"


def p_value(p: float | None) -> str:
    """Return two significant digits, never zero."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def count(number: float | None) -> str:
    """Return 11181642 as ``11.2 M``."""
    return NONE if number is None else _scaled(number, 1000, ("", " k", " M", " G", " T"))


def size(octets: float | None) -> str:
    """Return 44700000 as ``42.6 MiB``."""
    return NONE if octets is None else _scaled(octets, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def seconds(duration: float | None) -> str:
    """Return 0.042 as ``42 ms``, 95 as ``1.6 min``."""
    if duration is None or not math.isfinite(duration):
        return NONE
    if duration < 1:
        return f"{1000 * duration:.0f} ms"
    if duration < 90:
        return f"{duration:.1f} s"
    return f"{duration / 60:.1f} min" if duration < 5400 else f"{duration / 3600:.1f} h"


def _scaled(number: float, step: int, units: tuple[str, ...]) -> str:
    power = 0
    while power + 1 < len(units) and abs(number) >= step * 0.9995:
        number /= step
        power += 1
    return f"{number:.0f}{units[power]}" if power == 0 or abs(number) >= 999.5 else f"{number:.3g}{units[power]}"
