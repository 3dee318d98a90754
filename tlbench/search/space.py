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
FACTORS = (0.8, 1.25)  # by which a value moves while a method trains; one undoes the other
ANEW = 0.25  # share of such moves, among a few values, that go anywhere


@dataclass(frozen=True)
class Dimension:
    """One parameter that a search varies.

    Attributes:
        name: The parameter.
        space: Its distribution, as fields carry it (see :mod:`tlbench.core.config`).
        whole: Whether it takes whole numbers only.
        when: Values of other parameters under which it counts; elsewhere it keeps its default.
        lasting: Whether it holds for a whole training.
    """

    name: str
    space: dict[str, Any]
    whole: bool
    when: dict[str, tuple[Any, ...]]
    lasting: bool = False

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
        return self._inside(value)

    def near(self, value: Any, generator: Random) -> Any:
        """Return a value near another: 0.8 or 1.25 times as large, inside its range; of a few values one beside it.

        Of a few values it is any of them in one case of four. Zero, which no factor moves, is drawn anew.
        Jaderberg et al. 2017, arXiv:1711.09846, section 4.
        """
        if not self.values:
            return self._inside(value * generator.choice(FACTORS)) if value else self.at(generator.random())
        step, anew = generator.choice((-1, 1)), generator.random()
        if anew < ANEW or value not in self.values:
            return self.at(generator.random())
        return self.values[min(max(self.values.index(value) + step, 0), len(self.values) - 1)]

    def _inside(self, value: float) -> Any:
        value = min(max(value, self.space["low"]), self.space["high"])
        return round(value) if self.whole else value


@dataclass(frozen=True)
class Space:
    """All that a search varies of one method.

    Attributes:
        dimensions: Those that others depend on come first.
        defaults: All parameters of the method where the search varies nothing.
        segmentable: Protocols in which the method's training may be cut into segments.
    """

    dimensions: tuple[Dimension, ...]
    defaults: dict[str, Any]
    segmentable: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Canonical text of what decides the configurations that hold for a whole training."""
        known = [{"name": d.name, "space": d.space, "whole": d.whole, "when": d.when} for d in self.dimensions]
        return canonical([known, self.defaults])

    @cached_property
    def lasting(self) -> tuple[str, ...]:
        """What holds for a whole training: also what decides whether another such parameter counts."""
        found = {each.name for each in self.dimensions if each.lasting}
        for each in reversed(self.dimensions):  # what others depend on comes before them
            found |= each.when.keys() if each.name in found else set()
        return tuple(each.name for each in self.dimensions if each.name in found)

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

    def near(self, values: Mapping[str, Any], generator: Random) -> dict[str, Any]:
        """Return a configuration near another, with which a training may go on: what lasts stays as it is.

        What did not count before, and now does, is drawn.
        """
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            if not self.active(dimension, chosen):
                continue
            if dimension.name not in values:
                chosen[dimension.name] = dimension.at(generator.random())
            elif dimension.name in self.lasting:
                chosen[dimension.name] = values[dimension.name]
            else:
                chosen[dimension.name] = dimension.near(values[dimension.name], generator)
        return chosen

    def complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration with the defaults of the parameters that do not count beside it."""
        return {each.name: values.get(each.name, self.defaults[each.name]) for each in self.dimensions}

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
    segmentable: tuple[str, ...] = (),
) -> Space:
    """Return the space of a method.

    Args:
        settings: Its ``Config``, whose fields carry distributions.
        defaults: All its parameters, as the suite has them.
        replaced: Distribution and condition by parameter, in place of the declared ones.
        fixed: Parameters that the suite gives; they are searched only where ``replaced`` names them.
        declared: Whether parameters that ``replaced`` does not name are searched as the method declares.
        segmentable: The same (the constant ``SEGMENTABLE`` of its file).
    """
    found: dict[str, Dimension] = {}
    for name, field in settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        whole = int in (field.annotation, *get_args(field.annotation))
        lasting = "space" not in extra or bool(extra.get("lasting", False))
        if name in replaced:
            found[name] = Dimension(name, replaced[name][0], whole, replaced[name][1], lasting)
        elif declared and name not in fixed and "space" in extra:
            when = {key: tuple(values) for key, values in dict(extra.get("when", {})).items()}  # type: ignore[arg-type]
            found[name] = Dimension(name, dict(extra["space"]), whole, when, lasting)  # type: ignore[arg-type]
    return Space(tuple(_sorted(found)), dict(defaults), segmentable)


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
