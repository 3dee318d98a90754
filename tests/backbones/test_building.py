"""Built backbones: their shape, their groups, and that they compute what torchvision's networks compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import regnet

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe, names
from tlbench.backbones.layer_groups import find_blocks, layer_groups
from tlbench.backbones.torchvision_layouts import layout_of
from tlbench.backbones.torchvision_sources import models
from tlbench.backbones.weights import load_weights

RANDOM = {"kind": "random"}
STANDARD = {"stem": "standard"}
# One small member of each family: options that keep it cheap, and where its classifier is.
MEMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "alexnet": ({}, "classifier.6"),
    "convnext_tiny": ({**STANDARD, "image_size": 32}, "classifier.2"),
    "densenet121": ({**STANDARD, "image_size": 32}, "classifier"),
    "efficientnet_b0": ({**STANDARD, "image_size": 32}, "classifier.1"),
    "googlenet": ({**STANDARD, "image_size": 32}, "fc"),
    "inception_v3": ({}, "fc"),
    "maxvit_t": ({}, "classifier.5"),
    "mnasnet0_5": ({**STANDARD, "image_size": 32}, "classifier.1"),
    "mobilenet_v2": ({**STANDARD, "image_size": 32}, "classifier.1"),
    "mobilenet_v3_small": ({**STANDARD, "image_size": 32}, "classifier.3"),
    "regnet_x_400mf": ({**STANDARD, "image_size": 32}, "fc"),
    "resnet18": ({**STANDARD, "image_size": 32}, "fc"),
    "shufflenet_v2_x0_5": ({**STANDARD, "image_size": 32}, "fc"),
    "squeezenet1_1": ({**STANDARD, "image_size": 32}, "classifier.1"),
    "swin_t": ({**STANDARD, "image_size": 32}, "head"),
    "vgg11": ({}, "classifier.6"),
    "vit_b_32": ({"image_size": 32}, "heads.head"),
}
SMALL = ("convnext_tiny", "densenet121", "googlenet", "mobilenet_v2", "resnet18", "squeezenet1_0", "swin_t")


@pytest.fixture
def shapes_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Build networks without values; RegNet counts its blocks with tensors, which need values all the same."""
    count = regnet.BlockParams.from_init_params

    def counted(*args: Any, **kwargs: Any) -> Any:
        with torch.device("cpu"):
            return count(*args, **kwargs)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", counted)
    with torch.device("meta"):
        yield


def images(channels: int, size: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def random(name: str, seed: int = 0, **params: Any) -> Backbone:
    return build(describe(name, params, RANDOM), seed, None)


def check_cover(backbone: Backbone) -> None:
    """Make sure that each parameter lies in exactly one group, by the names and by the parameters."""
    parts = [part for group in backbone.layer_groups for part in group]
    for name, _ in backbone.body.named_parameters():
        assert sum(name == part or name.startswith(f"{part}.") for part in parts) == 1, name
    grouped = [id(p) for group in backbone.group_parameters() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in backbone.body.parameters())
    assert all(backbone.layer_groups)
    assert all(backbone.group_parameters())
    places = {name: place for place, (name, _) in enumerate(backbone.body.named_modules())}
    assert [places[block] for block in backbone.blocks] == sorted(places[block] for block in backbone.blocks)
    assert len(backbone.blocks) >= 2


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("name", names())
def test_groups_cover_every_parameter_of_every_backbone_once(name: str) -> None:
    backbone = random(name)
    check_cover(backbone)
    assert len(backbone.layer_groups) >= 3
    classes = {type(backbone.body.get_submodule(block)).__name__ for block in backbone.blocks}
    assert len(classes) <= 5, f"{name} fell back to its direct submodules"


@pytest.mark.parametrize("name", MEMBERS)
def test_features_are_what_torchvision_feeds_its_classifier(name: str) -> None:
    params, head = MEMBERS[name]
    backbone = random(name, **params).eval()
    size = backbone.info.recipe["image_size"]
    sized = {"image_size": size} if name.startswith("vit") else {}
    aux = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        reference = torchvision.models.get_model(name, **sized, **aux).eval()
    parent, _, own = head.rpartition(".")
    setattr(reference.get_submodule(parent), own, nn.Identity())
    reference.load_state_dict(backbone.body.state_dict(), assign=True)
    colour = images(3, size)
    with torch.no_grad():
        features = backbone(colour)
        assert features.shape == (2, backbone.out_dim)
        torch.testing.assert_close(features, reference(colour / 255 * 2 - 1), rtol=1e-4, atol=1e-5)
        assert backbone(images(1, size, count=1)).shape == (1, backbone.out_dim)


@pytest.mark.parametrize("name", SMALL)
def test_a_grey_network_answers_as_its_colour_twin_answers_grey_images(name: str) -> None:
    colour, grey = random(name).eval(), random(name, channels=1).eval()
    load_weights(grey, colour.body.state_dict(), "twin")
    x = images(1, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey(x), colour(x), rtol=1e-3, atol=1e-4)
        assert grey(images(3, 40)).shape == (2, colour.out_dim)


def largest_map(backbone: Backbone) -> int:
    sizes: list[int] = []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        sizes.append(output.shape[-1])

    for module in backbone.body.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    backbone.eval().body(torch.zeros(2, 3, 32, 32))
    return max(sizes)


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("name", SMALL)
def test_the_small_stem_keeps_the_resolution(name: str) -> None:
    small = random(name)
    assert small.info.recipe["stem"] == "small"
    assert largest_map(small) == (16 if name.startswith(("convnext", "swin")) else 32)


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("stem", ["small", "standard"])
@pytest.mark.parametrize(
    "name", [*SMALL, "alexnet", "vgg11", "inception_v3", "efficientnet_b0", "swin_v2_t", "squeezenet1_1"]
)
def test_the_least_image_size_is_large_enough(name: str, stem: str) -> None:
    layout = layout_of(models()[name])
    if stem == "small" and layout.small is None:
        pytest.skip("has no small stem")
    least = layout.small.smallest if stem == "small" and layout.small else layout.smallest
    backbone = random(name, stem=stem, image_size=least).eval()
    assert backbone.body(torch.zeros(2, 3, least, least)).shape == (2, backbone.out_dim)


def test_the_small_stem_keeps_the_variance_of_noise() -> None:
    """The middle of an independent kernel, scaled by the ratio of the sides, passes white noise on as loudly."""
    noise = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loud = []
    for params in ({"stem": "standard", "image_size": 64}, {"stem": "small", "image_size": 64}):
        first = next(m for m in random("resnet18", **params).body.modules() if isinstance(m, nn.Conv2d))
        loud.append(torch.conv2d(noise, first.weight).std().item())
    assert loud[1] == pytest.approx(loud[0], rel=0.1)


def test_the_same_seed_gives_the_same_weights_and_nothing_else_does() -> None:
    one, again, other = (random("squeezenet1_1", seed).body.state_dict() for seed in (1, 1, 2))
    wider = random("conv4", 1, width=8).body.state_dict()
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])
    torch.manual_seed(99)
    assert torch.equal(random("conv4", 1, width=8).body.state_dict()["block1.0.weight"], wider["block1.0.weight"])
    assert not torch.equal(random("conv4", 2, width=8).body.state_dict()["block1.0.weight"], wider["block1.0.weight"])


@pytest.mark.parametrize("name", ["conv4", "squeezenet1_1", "mnasnet0_5"])
def test_building_leaves_the_callers_randomness_alone(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    random(name, 3)
    assert torch.equal(torch.rand(4), expected)


def test_conv4_is_the_published_network() -> None:
    backbone = random("conv4")
    assert backbone.out_dim == 64
    assert backbone.layer_groups == [["block1"], ["block2"], ["block3"], ["block4"]]
    assert backbone.blocks == ["block1", "block2", "block3", "block4"]
    # Convolutions with biases, then scale and shift of each normalisation: 111,936 in all for grey images.
    assert sum(p.numel() for p in backbone.parameters()) == 64 * 9 + 3 * 64 * 64 * 9 + 4 * 64 + 4 * 2 * 64
    assert backbone(images(1, 28)).shape == (2, 64)
    check_cover(backbone)
    assert random("conv4", image_size=84, channels=3).out_dim == 1600


def test_depth_of_a_network_it_has_never_seen() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)))
    assert layer_groups(body, ()) == [["0"], ["2"]]
    assert find_blocks(body, ()) == ["0", "2"]


def test_depth_in_closed_form() -> None:
    def block() -> nn.Module:
        return nn.Bilinear(2, 2, 2)

    stage = nn.Sequential(block(), block())
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), stage, nn.Linear(2, 2), block(), nn.LayerNorm(2))
    assert layer_groups(net, {"Bilinear"}) == [["0", "1"], ["2"], ["3", "4", "5"]]
    assert find_blocks(net, {"Bilinear"}) == ["2.0", "2.1", "4"]
    assert layer_groups(nn.Sequential(stage, nn.Linear(2, 2)), {"Bilinear"}) == [["0.0"], ["0.1"], ["1"]]
