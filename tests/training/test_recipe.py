"""What a recipe leaves open goes by where the weights come from and by the number of labels; what it says stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.search.space import space_of
from tlbench.testing.fakes import CPU, fake_backbone, fake_context, fake_task
from tlbench.training import recipe
from tlbench.training.context import Context

RUN = {"kind": "pretrain", "method": "simclr", "dataset": "f"}
OWN: list[dict[str, Any]] = [{"kind": "random"}, RUN, {**RUN, "after": RUN}]
PUBLISHED: list[dict[str, Any]] = [
    {"kind": "timm", "name": "in1k"},
    {"kind": "file", "sha256": "0"},
    {"kind": "hf"},
    {**RUN, "after": {**RUN, "after": {"kind": "torchvision"}}},
]


def info(weights: dict[str, Any]) -> BackboneInfo:
    return BackboneInfo("net", "timm", "image", "net", {"weights": weights})


def backbone(weights: dict[str, Any]) -> Backbone:
    given = fake_backbone()
    given.info = replace(given.info, recipe={**given.info.recipe, "weights": weights})
    return given


def context() -> Context:
    return Context(random_root="recipe", device=CPU)


@pytest.mark.parametrize(("found", "published"), [*((w, False) for w in OWN), *((w, True) for w in PUBLISHED)])
def test_weights_are_published_where_any_run_started_from_such(found: dict[str, Any], published: bool) -> None:
    assert recipe.is_published(info(found)) is published


@pytest.mark.parametrize("trained", get_args(recipe.Trained))
def test_an_open_rate_goes_by_the_weights_and_is_recorded(trained: recipe.Trained) -> None:
    ctx = context()
    rates = recipe.RATES[trained]
    assert recipe.usual_rate(None, trained, info(PUBLISHED[0]), ctx) == rates.published == ctx.selected["lr"]
    assert recipe.usual_rate(None, trained, info(OWN[0]), ctx, "tune_lr") == rates.own == ctx.selected["tune_lr"]
    ctx = context()
    assert recipe.usual_rate(0.5, trained, info(OWN[0]), ctx) == 0.5
    assert ctx.selected == {}


def test_running_statistics_stay_with_published_weights_unless_the_suite_says_otherwise() -> None:
    for weights, policy in ((PUBLISHED[0], "frozen"), (OWN[0], "train")):
        ctx = context()
        found = recipe.fine_tuning_recipe(FineTuningConfig(head_multiplier=10), "network", backbone(weights), ctx)
        assert found.batch_norm == policy == ctx.selected["batch_norm"]
        assert found.head_lr == pytest.approx(10 * found.lr)
    cfg = FineTuningConfig(batch_norm="train", lr=0.1)
    ctx = context()
    assert recipe.fine_tuning_recipe(cfg, "network", backbone(PUBLISHED[0]), ctx).batch_norm == "train"
    assert ctx.selected == {}


@pytest.mark.parametrize(
    ("given", "examples", "batch", "epochs"),
    [
        (None, 10, 32, 200),
        (None, 50, 32, 100),
        (None, 160, 32, 40),
        (None, 161, 32, 40),
        (None, 10**6, 32, 40),
        (3, 10, 32, 3),
    ],
)
def test_epochs_are_added_until_there_are_two_hundred_steps(
    given: int | None, examples: int, batch: int, epochs: int
) -> None:
    assert recipe.usual_epochs(given, examples, batch) == epochs


TRAINED: dict[str, recipe.Trained] = {
    "lora": "low_rank",
    "adapter": "adapters",
    "bitfit": "biases",
    "ssf": "scales",
    "linear_head": "head",
}
FAMILY = ("finetune", "l2_sp", "lp_ft", "wise_ft", "gradual_unfreezing", "discriminative_lr", "lora", "adapter", "ssf",
          "bitfit", "linear_head")  # fmt: skip


@pytest.mark.parametrize("name", FAMILY)
def test_the_whole_family_shares_the_rule(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    method = registry.declaration("methods", name).load()
    assert issubclass(method.Config, FineTuningConfig)
    fields = method.Config.model_fields
    assert (fields["lr"].default, fields["epochs"].default) == (None, None)
    extra = fields["lr"].json_schema_extra
    assert isinstance(extra, dict)
    space: Any = extra["space"]
    assert all(space["low"] <= rate <= space["high"] for rate in recipe.RATES[TRAINED.get(name, "network")])
    found: list[float] = []
    for table in (1e-6, 1e-5):
        monkeypatch.setattr(recipe, "RATES", {kind: recipe.Rates(table, table) for kind in recipe.RATES})
        fake = fake_task("classification")
        ctx = fake_context(tmp_path, fake.dataset, fake_backbone(), checkpoints=None)
        method.fit(fake.task, fake_backbone(), method.Config(epochs=5), ctx)
        found.append(float(ctx.selected["lr"]))
    assert found == [1e-6, 1e-5]


def test_a_search_starts_from_what_is_open() -> None:
    declared = registry.declaration("methods", "finetune")
    defaults = declared.settings().model_dump(mode="json")
    space = space_of(declared.settings, defaults, {}, frozenset())
    assert space.start["lr"] is None
    near = space.near(space.start, Random(0))
    assert 1e-5 <= near["lr"] <= 1e-2
    assert near["batch_norm"] in ("train", "frozen")
