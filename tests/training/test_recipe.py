"""What a recipe leaves open goes by where the weights come from and by the number of labels; what it says stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import pytest

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, FineTuningConfig, TrainingConfig
from tlbench.core.info import BackboneInfo
from tlbench.data.dataset import Split
from tlbench.plugins import registry
from tlbench.search.space import space_of
from tlbench.testing.fakes import CPU, fake_backbone, fake_context, fake_task
from tlbench.training import recipe
from tlbench.training.augmentation.policy import Augmentation
from tlbench.training.context import Context
from tlbench.training.fewshot.episodic_loop import EpisodicTraining, train_on_episodes

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
    cfg = FineTuningConfig(batch_norm="train", lr=0.1, head_multiplier=2)
    ctx = context()
    assert recipe.fine_tuning_recipe(cfg, "network", backbone(PUBLISHED[0]), ctx).batch_norm == "train"
    assert ctx.selected == {}


@pytest.mark.parametrize(
    ("weights", "width", "lr", "expected"),
    [
        (PUBLISHED[0], 400, 1e-4, 1e-3),
        (PUBLISHED[0], 400, 1e-5, 1e-3),
        (PUBLISHED[0], 1280, 1e-4, 0.4 / 1280),
        (PUBLISHED[0], 2048, 1e-4, 3e-4),
        (PUBLISHED[0], 400, 0.1, 0.3),
        (OWN[0], 4, 1e-3, 3e-3),
    ],
)
def test_a_new_head_learns_faster_over_few_published_features(
    weights: dict[str, Any], width: int, lr: float, expected: float
) -> None:
    """Three times the rate of what else is trained is the least."""
    ctx, given = context(), backbone(weights)
    given.out_dim = width
    assert recipe.fine_tuning_recipe(FineTuningConfig(lr=lr), "network", given, ctx).head_lr == pytest.approx(expected)
    assert ctx.selected["head_lr"] == pytest.approx(expected)


def test_the_head_over_the_base_classes_keeps_the_rate_of_random_weights() -> None:
    rates = recipe.RATES["base_classifier"]
    for weights, lr, policy in ((PUBLISHED[0], rates.published, "frozen"), (OWN[0], rates.own, "train")):
        ctx = context()
        found = recipe.base_classifier_recipe(None, None, info(weights), ctx, "classifier_lr")
        assert found == recipe.Recipe(lr, rates.own, policy)
        assert ctx.selected == {"classifier_lr": lr, "batch_norm": policy}
    ctx = context()
    found = recipe.base_classifier_recipe(0.5, "train", info(PUBLISHED[0]), ctx)
    assert found == recipe.Recipe(0.5, 0.5, "train")
    assert ctx.selected == {}


EPISODIC = {"protonet": ("lr", "batch_norm"), "meta_baseline": ("classifier_lr", "batch_norm"),
            "baseline_pp": ("lr", "batch_norm"), "anil": ("lr", "batch_norm"), "maml": ("lr",)}  # fmt: skip
QUICK = {"episodes": 2, "check_every": 1, "checks": 2, "epochs": 1, "ways": 2, "queries": 2}


@pytest.mark.parametrize("name", EPISODIC)
@pytest.mark.parametrize("weights", [PUBLISHED[0], OWN[0]])
def test_training_for_episodes_goes_by_the_weights(
    name: str, weights: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, given = registry.declaration("methods", name).load(), backbone(weights)
    published, policies = recipe.is_published(info(weights)), []

    def note(training: EpisodicTraining, *rest: Any) -> None:
        policies.append(training.batch_norm)
        train_on_episodes(training, *rest)

    if name != "baseline_pp":
        monkeypatch.setattr(method, "train_on_episodes", note)
    before = {key: value.clone() for key, value in given.state_dict().items() if "running" in key}
    assert before
    ctx = context()
    cfg = method.Config(**{key: value for key, value in QUICK.items() if key in method.Config.model_fields})
    method.fit(fake_task("episodic").task, given, cfg, ctx)
    assert set(EPISODIC[name]) <= set(ctx.selected)
    trained: recipe.Trained = "base_classifier" if name in ("meta_baseline", "baseline_pp") else "episodes"
    rates = recipe.RATES[trained]
    assert ctx.selected[EPISODIC[name][0]] == (rates.published if published else rates.own)
    if name != "maml":
        assert set(policies) <= {"frozen" if published else "train"}
        assert all(given.state_dict()[key].equal(value) for key, value in before.items()) is published


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


RNG = np.random.default_rng(0)
SMALL, LARGE = (RNG.integers(0, 255, (5, 3, size, size), dtype=np.uint8) for size in (32, 96))
GREY, FEATURES = SMALL[:, :1].repeat(3, 1), SMALL.reshape(5, -1)


def split(x: Any) -> Split:
    return Split(x, np.zeros(len(x), np.int64), np.arange(len(x)))


@pytest.mark.parametrize(
    ("x", "characters", "auto", "usual"),
    [
        (LARGE, False, "crop_flip", "crop_flip"),
        (SMALL, False, "shift_flip", "shift_flip"),
        (GREY, False, "none", "shift"),
        (LARGE, True, "none", "shift"),
    ],
    ids=["photographs", "small photographs", "grey", "characters"],
)
def test_images_change_by_their_kind(x: Any, characters: bool, auto: str, usual: str) -> None:
    """Characters are mirrored neither by ``auto`` nor under RandAugment; what ``auto`` came to is recorded."""
    ctx = replace(context(), characters=characters)
    assert recipe.usual_augmentation(TrainingConfig(), [split(x)], ctx) == Augmentation(auto, magnitude=9.0)
    assert ctx.selected == {"augment": auto}
    ctx = replace(context(), characters=characters, crop_fraction=0.875)
    cfg = TrainingConfig(augment="randaugment", operations=3, magnitude=5.0, crop_area=0.3)
    assert recipe.usual_augmentation(cfg, [split(x)], ctx) == Augmentation(usual, 0.3, 3, 5.0, crop_fraction=0.875)
    assert recipe.usual_augmentation(TrainingConfig(augment="crop_flip"), [split(x)], ctx).moves == "crop_flip"
    assert ctx.selected == {}, "what the suite says is nothing that was found"


def test_what_is_no_image_never_changes() -> None:
    for cfg in (TrainingConfig(), TrainingConfig(augment="randaugment", mix="mixup")):
        ctx = context()
        assert not recipe.usual_augmentation(cfg, [split(FEATURES)], ctx).changes_images
        assert ctx.selected == {}


def test_one_coloured_domain_makes_photographs_of_both() -> None:
    ctx = context()
    assert recipe.usual_augmentation(AdaptationConfig(augment="auto"), [split(GREY), split(LARGE)], ctx).moves == (
        "crop_flip"
    )


@pytest.mark.parametrize(
    ("params", "alpha"),
    [({"mix": "mixup"}, 0.2), ({"mix": "cutmix"}, 1.0), ({"mix": "mixup", "mix_alpha": 0.7}, 0.7)],
    ids=str,
)
def test_the_weights_of_mixtures_are_the_papers_unless_the_suite_says_otherwise(
    params: dict[str, Any], alpha: float
) -> None:
    found = recipe.usual_augmentation(TrainingConfig(augment="none", **params), [split(LARGE)], context())
    assert (found.mix, found.alpha) == (params["mix"], alpha)
    assert found.changes_images, "a frozen part of the network sees other images in every epoch"
