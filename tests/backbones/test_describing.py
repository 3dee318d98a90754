"""What the catalogue says of each backbone, checked against torchvision itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torchvision

from tlbench.backbones import catalog
from tlbench.backbones.image_recipe import framing
from tlbench.backbones.torchvision_sources import models
from tlbench.core.errors import UserError

RANDOM = {"kind": "random"}
DEFAULT = {"kind": "torchvision", "name": "DEFAULT"}


def test_names_are_those_of_torchvision_conv4_and_the_text_encoders() -> None:
    texts = {"text_tiny", "text_mini", "text_small", "text_medium"}
    assert set(catalog.names()) == {*torchvision.models.list_models(module=torchvision.models), "conv4", *texts}
    assert len(catalog.names()) == len(set(catalog.names()))
    assert set(catalog.summaries()) == {*catalog.names(), "hf:NAME", "timm:NAME"}
    assert all(catalog.summaries().values())
    assert catalog.family_of_name()["conv4"] == "conv4"
    assert catalog.family_of_name()["resnet18"] == "torchvision"


@pytest.mark.parametrize("name", sorted(models()))
def test_published_weights_are_what_torchvision_says(name: str) -> None:
    enum = torchvision.models.get_model_weights(name)
    read = models()[name]
    assert set(read.weights) == {member.name for member in enum}
    assert catalog.describe(name, {}, DEFAULT).recipe["weights"] == {"kind": "torchvision", "name": enum.DEFAULT.name}
    for member in enum:
        evaluation = member.transforms()
        found = read.weights[member.name]
        assert [found.image_size] == evaluation.crop_size
        assert found.mean == pytest.approx(evaluation.mean)
        assert found.std == pytest.approx(evaluation.std)
        assert [found.resize] == evaluation.resize_size
        assert found.interpolation == evaluation.interpolation.value
        assert found.whole == (member.meta["categories"] is not None)
        if found.whole:
            info = catalog.describe(name, {}, {"kind": "torchvision", "name": member.name})
            assert info.label == f"{name}/{member.name}"
            assert info.recipe["image_size"] == info.made_for == found.image_size
            assert framing(info.recipe).resize == found.resize >= found.image_size
            assert info.recipe["stem"] == "standard"


def test_describing_loads_no_torch() -> None:
    code = (
        "import sys\nfrom tlbench.backbones import catalog\n"
        "for name in catalog.names():\n"
        "    catalog.describe(name, {}, {'kind': 'random'})\n"
        "catalog.describe('resnet50', {}, {'kind': 'torchvision', 'name': 'DEFAULT'})\n"
        "catalog.summaries()\n"
        "assert not {'torch', 'torchvision', 'numpy'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "params", "weights", "label"),
    [
        ("conv4", {}, RANDOM, "conv4/random"),
        ("conv4", {"width": 64, "image_size": 28}, RANDOM, "conv4/random"),
        ("conv4", {"width": 32}, RANDOM, "conv4(width=32)/random"),
        ("conv4", {}, {"kind": "file", "sha256": "1a2b3c4d5e6f"}, "conv4/file:1a2b3c4d"),
        ("conv4", {}, {"kind": "pretrain", "method": "supervised", "dataset": "glyphs"}, "conv4/supervised@glyphs"),
        ("resnet18", {}, RANDOM, "resnet18/random"),
        ("resnet18", {"image_size": 32, "stem": "small"}, RANDOM, "resnet18/random"),
        ("resnet18", {"image_size": 64}, RANDOM, "resnet18(image_size=64)/random"),
        ("resnet18", {"image_size": 96}, RANDOM, "resnet18(image_size=96, stem=standard)/random"),
        ("resnet18", {"stem": "standard"}, RANDOM, "resnet18(image_size=224, stem=standard)/random"),
        ("resnet18", {"normalization": "imagenet"}, RANDOM, "resnet18(normalization=imagenet)/random"),
        ("resnet18", {"normalization": "half"}, RANDOM, "resnet18/random"),
        ("resnet50", {}, DEFAULT, "resnet50/IMAGENET1K_V2"),
        ("resnet50", {"channels": 1}, DEFAULT, "resnet50(channels=1)/IMAGENET1K_V2"),
    ],
)
def test_labels_show_what_differs_from_the_defaults(
    name: str, params: dict[str, Any], weights: dict[str, Any], label: str
) -> None:
    assert catalog.describe(name, params, weights).label == label


def test_a_default_written_out_is_the_same_recipe() -> None:
    plain = catalog.describe("resnet18", {}, RANDOM).recipe
    assert catalog.describe("resnet18", {"image_size": 32, "stem": "small", "channels": 3}, RANDOM).recipe == plain
    assert catalog.describe("resnet18", {"image_size": 33}, RANDOM).recipe != plain
    assert catalog.describe("resnet50", {}, DEFAULT).recipe == (
        catalog.describe("resnet50", {}, {"kind": "torchvision", "name": "IMAGENET1K_V2"}).recipe
    )


@pytest.mark.parametrize(
    ("name", "weights", "size", "stem", "mean"),
    [
        ("resnet18", RANDOM, 32, "small", [0.5] * 3),
        ("resnet18", DEFAULT, 224, "standard", [0.485, 0.456, 0.406]),
        ("efficientnet_v2_l", DEFAULT, 480, "standard", [0.5] * 3),
        ("googlenet", DEFAULT, 224, "standard", [0.5] * 3),
        ("vgg11", RANDOM, 32, "standard", [0.5] * 3),
        ("vit_b_16", RANDOM, 224, "standard", [0.5] * 3),
        ("vit_b_16", {"kind": "torchvision", "name": "IMAGENET1K_SWAG_E2E_V1"}, 384, "standard", [0.485, 0.456, 0.406]),
        ("maxvit_t", RANDOM, 224, "standard", [0.5] * 3),
        ("conv4", RANDOM, 28, "standard", [0.5]),
    ],
)
def test_what_nobody_says_suits_network_and_weights(
    name: str, weights: dict[str, Any], size: int, stem: str, mean: list[float]
) -> None:
    recipe = catalog.describe(name, {}, weights).recipe
    assert (recipe["image_size"], recipe["stem"], recipe["mean"]) == (size, stem, mean)


@pytest.mark.parametrize(
    ("name", "params", "weights", "message", "hint"),
    [
        ("resnet19", {}, RANDOM, "'resnet19'", "'resnet18'"),
        ("resnet18", {"imgsize": 32}, RANDOM, "'imgsize'", "'image_size'"),
        ("resnet18", {"channels": 2}, RANDOM, "'channels'", ""),
        ("resnet18", {"image_size": "32"}, RANDOM, "'image_size'", ""),
        ("resnet18", {"image_size": 4}, RANDOM, "'image_size' 4 is too small", "8"),
        ("resnet18", {"stem": "tiny"}, RANDOM, "'stem'", "small"),
        ("resnet18", {"stem": "small"}, DEFAULT, "'stem' small", "standard"),
        ("vgg11", {"stem": "small"}, RANDOM, "'stem' small", "resnet"),
        ("resnet18", {}, {"kind": "torchvision", "name": "IMAGENET1K_V2"}, "'IMAGENET1K_V2'", "'IMAGENET1K_V1'"),
        ("vgg16", {}, {"kind": "torchvision", "name": "IMAGENET1K_FEATURES"}, "IMAGENET1K_FEATURES", "IMAGENET1K_V1"),
        ("conv4", {}, DEFAULT, "torchvision has no weights", "random"),
        ("conv4", {"width": 0}, RANDOM, "'width'", ""),
        ("vit_b_16", {"image_size": 40}, RANDOM, "'image_size' must be a multiple of 16", "32"),
        ("vit_b_16", {"image_size": 384}, DEFAULT, "'image_size' must be 224", ""),
        ("maxvit_t", {"image_size": 256}, RANDOM, "multiple of 224", "224"),
    ],
)
def test_mistakes_are_named(
    name: str, params: dict[str, Any], weights: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UserError) as caught:
        catalog.describe(name, params, weights)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_small_stem_may_keep_published_weights_where_the_kernel_stays() -> None:
    recipe = catalog.describe("mobilenet_v3_small", {"stem": "small"}, DEFAULT).recipe
    assert (recipe["image_size"], recipe["stem"]) == (32, "small")
