"""What a search varies: distributions, conditions, grids."""

from __future__ import annotations

import math
import statistics
from random import Random
from typing import Any

import pytest

from tlbench.core import registry
from tlbench.core.config import MethodConfig, choice, log_uniform, tunable, uniform
from tlbench.core.space import Dimension, Space, space_of


class Config(MethodConfig):
    """A method's parameters; the conditional one stands before what it depends on."""

    momentum: float = tunable(0.9, uniform(0.5, 1.0), when={"optimizer": ("sgd",)})
    optimizer: str = tunable("adamw", choice("adamw", "sgd"))
    lr: float = tunable(1e-3, log_uniform(1e-4, 1e-1))
    epochs: int = 10


DEFAULTS = Config().model_dump()


def whole(**replaced: Any) -> Space:
    return space_of(Config, DEFAULTS, replaced, frozenset())


def names(space: Space) -> list[str]:
    return [each.name for each in space.dimensions]


def test_shares_of_a_distribution_are_its_quantiles() -> None:
    rate = Dimension("lr", log_uniform(1e-4, 1e-2), whole=False, when={})
    assert [rate.at(share) for share in (0, 0.5, 1)] == pytest.approx([1e-4, 1e-3, 1e-2])
    flat = Dimension("decay", uniform(0.2, 1.0), whole=False, when={})
    assert [flat.at(share) for share in (0, 0.25, 1)] == pytest.approx([0.2, 0.4, 1.0])
    few = Dimension("rank", choice(2, 4, 8, 16), whole=True, when={})
    assert [few.at(share) for share in (0, 0.25, 0.6, 1)] == [2, 4, 8, 16]
    count = Dimension("epochs", uniform(1, 4), whole=True, when={})
    assert {type(count.at(share / 10)) for share in range(11)} == {int}
    assert count.points == (1, 2, 4)


def test_draws_follow_the_logarithm() -> None:
    space = whole()
    rates = [math.log10(space.draw(Random(seed))["lr"]) for seed in range(2000)]
    assert statistics.fmean(rates) == pytest.approx(-2.5, abs=0.06)  # standard error 0.019
    assert statistics.pstdev(rates) == pytest.approx(3 / math.sqrt(12), rel=0.04)


def test_what_depends_on_another_comes_after_it_and_only_where_it_counts() -> None:
    space = whole()
    assert names(space) == ["optimizer", "momentum", "lr"]
    drawn = [space.draw(Random(seed)) for seed in range(200)]
    assert {("momentum" in each, each["optimizer"]) for each in drawn} == {(True, "sgd"), (False, "adamw")}
    assert space.start == {"optimizer": "adamw", "lr": 1e-3}
    grid = list(space.grid())
    assert len(grid) == 3 + 3 * 3  # rates, and rates by momenta
    assert all(("momentum" in each) == (each["optimizer"] == "sgd") for each in grid)


def test_a_draw_does_not_move_the_ones_after_it() -> None:
    """Whether the momentum counts or not, the same seed draws the same rate."""
    space, fixed = whole(), whole(optimizer=(choice("sgd"), {}))
    assert [space.draw(Random(s))["lr"] for s in range(20)] == [fixed.draw(Random(s))["lr"] for s in range(20)]


def test_the_suite_may_narrow_widen_replace_and_fix() -> None:
    assert whole(lr=(log_uniform(1e-6, 1.0), {})).dimensions[-1].space["high"] == 1.0
    added = space_of(Config, DEFAULTS, {"epochs": (uniform(5, 20), {})}, frozenset())
    assert names(added)[-1] == "epochs"
    assert added.dimensions[-1].whole
    assert names(space_of(Config, DEFAULTS, {}, frozenset({"lr"}))) == ["optimizer", "momentum"]
    assert names(space_of(Config, DEFAULTS, {"lr": (choice(0.1), {})}, frozenset({"lr"}))) == names(whole())
    alone = space_of(Config, DEFAULTS, {"lr": (choice(0.1, 0.2), {})}, frozenset(), declared=False)
    assert names(alone) == ["lr"]
    told = space_of(Config, DEFAULTS, {}, frozenset({"optimizer"}))
    assert "momentum" not in told.draw(Random(0)), "what the suite gives decides conditions, too"
    when = space_of(Config, DEFAULTS, {"lr": (choice(0.1), {"optimizer": ("sgd",)})}, frozenset())
    assert {"lr" in each for each in when.grid() if each["optimizer"] == "adamw"} == {False}


def test_every_declared_default_lies_in_its_own_space_or_is_a_value_of_its_own() -> None:
    """Else the first trial, the default, is not one that the search could have found."""
    outside = set()
    for name in registry.names("methods"):
        settings = registry.declaration("methods", name).settings
        space = space_of(settings, settings().model_dump(mode="json"), {}, frozenset())
        for each in space.dimensions:
            default, limits = space.defaults[each.name], each.space
            inside = default in each.values if each.values else limits["low"] <= default <= limits["high"]
            if not inside:
                outside.add(f"{name}.{each.name}")
        for values in (space.draw(Random(0)), space.draw(Random(1)), space.start):
            settings(**{**space.defaults, **values})
    assert outside == set()
