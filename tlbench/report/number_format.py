"""Numbers as people read them: percent, points, counts, bytes, seconds, p-values, values of parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.stats.intervals import Estimate
from tlbench.stats.wins import Wins

NONE = "–"
MINUS = "\N{MINUS SIGN}"
_NAMED, _SHORT = 4, 90  # datasets and letters that a title has room for


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


def plain_points(fraction: float) -> str:
    """Return a size of 0.021 in points as ``2.1``."""
    return f"{100 * fraction:.1f}"


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


def device_seconds(duration: float | None, device: str) -> str:
    """Return 4.5 seconds of a CPU as ``4.5 CPU-s``."""
    told = seconds(duration)
    return told if told == NONE else told.replace(" ", f" {device}-")


def ranks(place: int | None, reach: tuple[int, int] | None) -> str:
    """Return ``2–4``, or the place by mean alone where every rank was not looked at."""
    if place is None:
        return ""
    if reach is None:
        return str(place)
    return str(reach[0]) if reach[0] == reach[1] else f"{reach[0]}–{reach[1]}"


def win_tie_loss(found: Wins | None) -> str:
    """Return wins, ties and losses as ``3/1/0``."""
    return NONE if found is None else f"{found.win}/{found.tie}/{found.loss}"


def share(fraction: float | None) -> str:
    """Return 0.0042 as ``0.42%``."""
    if fraction is None:
        return NONE
    return f"{100 * fraction:.0f}%" if fraction == 0 or fraction >= 0.0995 else f"{100 * fraction:.2g}%"


def shots(number: str) -> str:
    """Return ``1 shot``, ``5 shots`` or ``all labels``."""
    return "all labels" if number == "full" else f"{number} shot" if number == "1" else f"{number} shots"


def counted(number: int, what: str) -> str:
    """Return ``1 row`` or ``2 rows``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def short(names: Iterable[str]) -> dict[str, str]:
    """Return the datasets' names without what several of them have before a colon: ``Sans -> Serif``."""
    names = tuple(names)
    heads = [name.rpartition(": ")[0] for name in names]
    found = {
        name: name.rpartition(": ")[2] if heads.count(head) > 1 else name
        for name, head in zip(names, heads, strict=True)
    }
    return found if len(set(found.values())) == len(found) else {name: name for name in names}


def datasets(names: Sequence[str], told: str) -> str:
    """Return how datasets are told, or their number where that is long: ``4 datasets of glyphs(variants=10)``."""
    if len(names) == 1 or (len(names) <= _NAMED and len(told) <= _SHORT):
        return told
    heads = {name.rpartition(": ")[0] for name in names}
    of = f" of {min(heads)}" if len(heads) == 1 and min(heads) else ""
    return f"{len(names)} datasets{of}"


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation in percent, ``93.4 ± 0.8``; the mean alone of a single value."""
    return percent(fmean(values)) + (f" ± {percent(stdev(values))}" if len(values) > 1 else "")


def value(of: Any) -> str:
    """Return a parameter's value, a number to three digits: ``0.00241``, ``1.86e-5``, ``none``, ``top_down``."""
    if of is None:
        return "none"
    if isinstance(of, bool):
        return "yes" if of else "no"
    if isinstance(of, float):
        return re.sub(r"e([+-])0*", lambda power: "e" + power[1].strip("+"), f"{of:.3g}")
    return of if isinstance(of, str) else canonical(of)


def _scaled(number: float, step: int, units: tuple[str, ...]) -> str:
    power = 0
    while power + 1 < len(units) and abs(number) >= step * 0.9995:
        number /= step
        power += 1
    return f"{number:.0f}{units[power]}" if power == 0 or abs(number) >= 999.5 else f"{number:.3g}{units[power]}"
