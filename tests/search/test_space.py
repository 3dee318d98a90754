"""What a search varies: distributions, conditions, grids."""

from __future__ import annotations

import math
import statistics
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from one_process import new_cache
from searched_suites import prepared

from tlbench.core.config import MethodConfig, choice, log_uniform, tunable, uniform
from tlbench.plugins import registry
from tlbench.search.space import Dimension, Space, space_of
from tlbench.worker.run_cell import run_cell


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


class Trained(MethodConfig):
    """Parameters some of which hold for a whole training; whether the clip counts decides about one of them."""

    lr: float = tunable(1e-3, log_uniform(1e-4, 1e-1))
    width: int = tunable(64, choice(32, 64, 128), lasting=True)
    steps: int = tunable(4, uniform(1, 9))
    loss: str = tunable("plain", choice("plain", "clipped", "both"))
    clip: float = tunable(1.0, uniform(0.0, 2.0), when={"loss": ("clipped", "both")})
    norm: str = tunable("batch", choice("batch", "layer"), lasting=True, when={"depth": (2,)})
    depth: int = tunable(1, choice(1, 2))
    epochs: int = 10


def trained(**replaced: Any) -> Space:
    return space_of(Trained, Trained().model_dump(), replaced, frozenset())


def test_what_lasts_is_declared_or_decides_about_what_does_or_is_the_suites_own() -> None:
    assert trained().lasting == ("width", "depth", "norm")
    assert trained(epochs=(choice(5, 10), {}), lr=(choice(1e-3, 1e-2), {})).lasting[-1] == "epochs"
    plain = space_of(Config, DEFAULTS, {}, frozenset())
    assert plain.lasting == ()
    assert "lasting" not in plain.key, "names of searches do not change with it"


def test_a_configuration_near_another_lies_inside_and_keeps_what_lasts() -> None:
    space = trained()
    chosen = {"lr": 1e-3, "width": 64, "steps": 5, "loss": "plain", "depth": 1}
    drawn = [space.near(chosen, Random(seed)) for seed in range(400)]
    assert {(each["width"], each["depth"], "norm" in each) for each in drawn} == {(64, 1, False)}
    assert {each["lr"] for each in drawn} == {0.8 * 1e-3, 1.25 * 1e-3}
    assert {each["steps"] for each in drawn} == {4, 6}
    counts = {loss: sum(each["loss"] == loss for each in drawn) / len(drawn) for loss in ("plain", "clipped", "both")}
    assert counts["plain"] == pytest.approx(3 / 8 + 1 / 12, abs=0.08)  # it lies at the end: half of the steps stay
    assert counts["clipped"] == pytest.approx(3 / 8 + 1 / 12, abs=0.08)
    assert counts["both"] == pytest.approx(1 / 12, abs=0.05)
    assert all(("clip" in each) == (each["loss"] != "plain") for each in drawn)
    clips = [each["clip"] for each in drawn if "clip" in each]
    assert statistics.fmean(clips) == pytest.approx(1.0, abs=0.15), "what counts only now is drawn"
    edge = {"lr": 1e-1, "width": 64, "steps": 9, "loss": "both", "clip": 0.0, "depth": 1}
    near = [space.near(edge, Random(seed)) for seed in range(100)]
    assert {each["lr"] for each in near} == {0.8 * 1e-1, 1e-1}
    assert {each["steps"] for each in near} == {7, 9}
    assert len({each["clip"] for each in near if each["loss"] == "both"}) > 20, "no factor moves zero"
    outside = space.near({**edge, "loss": "none of these", "lr": 5.0}, Random(0))
    assert outside["loss"] in ("plain", "clipped", "both")
    assert outside["lr"] == 1e-1
    assert space.complete(chosen) == {**chosen, "clip": 1.0, "norm": "batch"}


def test_every_declared_default_lies_in_its_own_space_or_is_a_value_of_its_own() -> None:
    """Else the first trial, the default, is not one that the search could have found."""
    outside = set()
    for name in registry.names("methods"):
        settings = registry.declaration("methods", name).settings
        space = space_of(settings, settings().model_dump(mode="json"), {}, frozenset())
        for each in space.dimensions:
            default, limits = space.defaults[each.name], each.space
            inside = default in each.values if each.values else limits["low"] <= (default or 0.0) <= limits["high"]
            if not inside and default is not None:  # what is open goes by the weights
                outside.add(f"{name}.{each.name}")
        for values in (space.draw(Random(0)), space.draw(Random(1)), space.start):
            settings(**{**space.defaults, **values})
    assert outside == set()


def test_what_has_no_effect_is_not_searched() -> None:
    def drawn(method: str, **given: str) -> set[str]:
        settings = registry.declaration("methods", method).settings
        space = space_of(settings, settings(**given).model_dump(mode="json"), {}, frozenset(given))
        return set(space.draw(Random(0)))

    tuning = {"tune_lr", "head_multiplier", "smoothing"}
    images = {"augment", "magnitude", "mix", "mix_alpha"}
    assert drawn("simclr") >= {"lr", "tune_lr"}
    assert drawn("simclr") - drawn("simclr", optimizer="lars") == {"lr"}
    assert drawn("simclr", optimizer="lars") - drawn("simclr") == {"lars_lr"}
    assert drawn("simclr") - images - drawn("simclr", then="probe") == {"tune_lr"}
    assert images.isdisjoint(drawn("simclr", then="probe"))
    assert drawn("finetune", augment="randaugment", mix="cutmix") >= {"magnitude", "mix_alpha"}
    assert {"magnitude", "mix_alpha"}.isdisjoint(drawn("finetune", augment="affine", mix="none"))
    assert drawn("mlm") - drawn("mlm", then="probe") == tuning
    assert drawn("mlm") == tuning | {"lr", "weight_decay", "warmup", "mask_probability"}, "nothing of images"


def test_a_search_tries_every_way_in_which_images_may_change(tmp_path: Path, decoded: Path) -> None:
    """What a suite adds to the declared values too; each trial trains, and says what auto came to."""
    names = ["auto", "none", "crop_flip", "randaugment"]
    given = {"augment": {"choice": names}, "mix": {"choice": ["none", "cutmix"]}}
    grid = {"methods": [{"name": "from_scratch", "params": {"epochs": 1}}], "shots": [5], "seeds": 1}
    space = {"declared": False, "space": {"from_scratch": given}, "trials": 8, "searcher": "grid"}
    (setting,) = prepared(tmp_path, decoded, grid, **space).searches.problems.values()
    configurations = list(setting.space.grid())
    assert [(each["augment"], each["mix"]) for each in configurations] == list(product(names, ["none", "cutmix"]))
    told, cache = [], new_cache(decoded)
    for number, values in enumerate(configurations, start=1):
        record = run_cell(setting.trial(number, values), cache)
        assert record.outcome is not None, record.error
        told.append(record.outcome.selected.get("augment"))
    assert told == ["none", "none", *[None] * 6], "digits"
