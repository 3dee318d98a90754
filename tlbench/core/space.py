"""What a search may vary of a method: dimensions, each with its distribution and the condition for it to count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from random import Random
from typing import Any, get_args

from tlbench.core.config import Settings
from tlbench.core.hashing import canonical

POINTS = 3  # of a range, on a grid


@dataclass(frozen=True)
class Dimension:
    """One parameter that a search varies.

    Attributes:
        name: The parameter.
        space: Its distribution, as fields carry it (see :mod:`tlbench.core.config`).
        whole: Whether it takes whole numbers only.
        when: Values of other parameters under which it counts; elsewhere it keeps its default.
    """

    name: str
    space: dict[str, Any]
    whole: bool
    when: dict[str, tuple[Any, ...]]

    @property
    def values(self) -> tuple[Any, ...]:
        """What it is searched over, where that is a few values; else empty."""
        return tuple(self.space.get("values", ()))

    @property
    def points(self) -> tuple[Any, ...]:
        """Its values on a grid: all of a few, else both ends of the range and the middle."""
        if self.values:
            return self.values
        return tuple(dict.fromkeys(self.at(step / (POINTS - 1)) for step in range(POINTS)))

    def at(self, share: float) -> Any:
        """Return the value below which the share ``0 <= share <= 1`` of its distribution lies."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        low, high = self.space["low"], self.space["high"]
        if self.space["distribution"] == "log_uniform":
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        value = min(max(value, low), high)
        return round(value) if self.whole else value


@dataclass(frozen=True)
class Space:
    """All that a search varies of one method.

    Attributes:
        dimensions: Those that others depend on come first.
        defaults: All parameters of the method where the search varies nothing.
    """

    dimensions: tuple[Dimension, ...]
    defaults: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Canonical text of what decides the configurations."""
        return canonical([[vars(each) for each in self.dimensions], self.defaults])

    def active(self, dimension: Dimension, chosen: Mapping[str, Any]) -> bool:
        """Say whether a dimension counts beside what was chosen of those before it."""
        known = self.defaults | dict(chosen)
        return all(known[name] in values for name, values in dimension.when.items())

    def draw(self, generator: Random) -> dict[str, Any]:
        """Return a random configuration: the parameters that count, by name."""
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            share = generator.random()  # drawn in any case: no draw depends on another's outcome
            if self.active(dimension, chosen):
                chosen[dimension.name] = dimension.at(share)
        return chosen

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield every configuration of the grid once, the last dimensions moving fastest."""
        seen: set[str] = set()
        for values in product(*(dimension.points for dimension in self.dimensions)):
            chosen: dict[str, Any] = {}
            for dimension, value in zip(self.dimensions, values, strict=True):
                if self.active(dimension, chosen):
                    chosen[dimension.name] = value
            name = canonical(chosen)
            if name not in seen:
                seen.add(name)
                yield chosen

    @property
    def start(self) -> dict[str, Any]:
        """The configuration of the defaults."""
        found: dict[str, Any] = {}
        for dimension in self.dimensions:
            if self.active(dimension, found):
                found[dimension.name] = self.defaults[dimension.name]
        return found


def space_of(
    settings: type[Settings],
    defaults: Mapping[str, Any],
    replaced: Mapping[str, tuple[dict[str, Any], dict[str, tuple[Any, ...]]]],
    fixed: frozenset[str],
    *,
    declared: bool = True,
) -> Space:
    """Return the space of a method.

    Args:
        settings: Its ``Config``, whose fields carry distributions.
        defaults: All its parameters, as the suite has them.
        replaced: Distribution and condition by parameter, in place of the declared ones.
        fixed: Parameters that the suite gives; they are searched only where ``replaced`` names them.
        declared: Whether parameters that ``replaced`` does not name are searched as the method declares.
    """
    found: dict[str, Dimension] = {}
    for name, field in settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        whole = int in (field.annotation, *get_args(field.annotation))
        if name in replaced:
            found[name] = Dimension(name, replaced[name][0], whole, replaced[name][1])
        elif declared and name not in fixed and "space" in extra:
            when = {key: tuple(values) for key, values in dict(extra.get("when", {})).items()}  # type: ignore[arg-type]
            found[name] = Dimension(name, dict(extra["space"]), whole, when)  # type: ignore[arg-type]
    return Space(tuple(_sorted(found)), dict(defaults))


def _sorted(found: Mapping[str, Dimension]) -> Iterator[Dimension]:
    done: set[str] = set()

    def after(name: str, waiting: frozenset[str]) -> Iterator[Dimension]:
        if name in done:
            return
        for other in found[name].when:
            if other in found and other not in waiting:
                yield from after(other, waiting | {name})
        if name not in done:
            done.add(name)
            yield found[name]

    for name in found:
        yield from after(name, frozenset())
