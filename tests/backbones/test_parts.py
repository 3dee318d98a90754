"""The parts that methods reach into: blocks one by one, the sublayers of transformers, submodules to replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone, Sublayers, find_sublayers, replace_module
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.layer_groups import block_groups

# Stem and blocks and, where there is a layer after them, that.
GROUPS = {
    "resnet18": (1, 8, 0),
    "vit_b_16": (1, 12, 0),
    "swin_t": (1, 12, 0),
    "swin_v2_t": (1, 12, 0),
    "convnext_tiny": (1, 18, 0),
    "efficientnet_b0": (1, 16, 1),
    "mobilenet_v3_small": (1, 11, 1),
    "densenet121": (1, 4, 0),
    "vgg11": (0, 5, 1),
    "conv4": (0, 4, 0),
}
TRANSFORMERS = {"vit_b_32": 12, "swin_t": 12, "swin_v2_t": 12}
WITH_TIMM = {
    "timm:test_vit": 6,
    "timm:test_vit2": 8,
    "timm:test_vit_relpos": 9,
    "timm:swin_tiny_patch4_window7_224": 12,
    "timm:eva02_tiny_patch14_224": 12,
    "timm:nest_tiny_jx": 12,
    "timm:cait_xxs24_224": 26,
    "timm:test_maxvit": 8,
}


def built(name: str, **params: Any) -> Backbone:
    return build(describe(name, params, {"kind": "random"}), 0, None)


@pytest.fixture
def shapes_only() -> Iterator[None]:
    with torch.device("meta"):
        yield


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("name", GROUPS)
def test_fine_groups_are_stem_and_blocks_and_cover_each_parameter_once(name: str) -> None:
    backbone = built(name)
    groups = backbone.fine_groups()
    stem, blocks, top = GROUPS[name]
    assert len(backbone.blocks) == blocks
    assert len(groups) == stem + blocks + top
    assert sorted(id(parameter) for group in groups for parameter in group) == sorted(
        map(id, backbone.body.parameters())
    )
    for block, group in zip(backbone.blocks, groups[stem:], strict=False):
        own = {id(parameter) for parameter in backbone.body.get_submodule(block).parameters()}
        assert own <= {id(parameter) for parameter in group}, block
    coarse = [{id(p) for p in group} for group in backbone.group_parameters()]
    assert all(any({id(p) for p in group} <= whole for whole in coarse) for group in groups)


def test_what_stands_between_blocks_belongs_to_the_later_one() -> None:
    blocks = [nn.Bilinear(2, 2, 2) for _ in range(3)]
    between, after = nn.Linear(2, 2), nn.LayerNorm(2)
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(*blocks[:2]), between, blocks[2], after)
    assert block_groups(net, ["1.0", "1.1", "3"]) == [["0"], ["1.0"], ["1.1"], ["2", "3", "4"]]
    assert block_groups(nn.Sequential(*net, nn.Linear(2, 2)), ["1.0", "1.1", "3"])[-1] == ["4", "5"]


def test_fine_groups_follow_what_is_replaced() -> None:
    backbone = built("conv4", width=4)
    backbone.replace("block2", nn.Sequential(backbone.body.get_submodule("block2"), nn.Conv2d(4, 4, 1)))
    groups = backbone.fine_groups()
    assert len(groups) == 4
    assert len(groups[1]) == 6
    assert sorted(id(parameter) for group in groups for parameter in group) == sorted(
        map(id, backbone.body.parameters())
    )


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("name", ["conv4", "resnet18", "convnext_tiny", "densenet121", "mobilenet_v3_small"])
def test_convolutional_networks_have_no_sublayers(name: str) -> None:
    assert built(name).sublayers == []


@pytest.mark.usefixtures("shapes_only")
def test_sublayers_go_by_the_names_of_the_library() -> None:
    vit, swin = built("vit_b_16"), built("swin_t")
    first = "encoder.layers.encoder_layer_0"
    assert vit.sublayers[0] == Sublayers(f"{first}.self_attention", f"{first}.mlp")
    assert [each.attention.rpartition(".")[0] for each in vit.sublayers] == vit.blocks
    assert swin.sublayers[0] == Sublayers("features.1.0.attn", "features.1.0.mlp")
    assert [each.feed_forward.rpartition(".")[0] for each in swin.sublayers] == swin.blocks


def silent(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Hook that turns the output, of a tuple the first element, into zeros."""
    return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)


def moved(backbone: Backbone, block: str, run: Callable[[], Any]) -> float:
    """Return how far a block moves its input."""
    seen: list[float] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((output - inputs[0]).abs().max().item())

    handle = backbone.body.get_submodule(block).register_forward_hook(look)
    run()
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("name", [*TRANSFORMERS, *WITH_TIMM])
def test_a_transformer_block_without_its_sublayers_is_the_identity(name: str) -> None:
    """So they are all that a block adds to its residual stream; and each of the two adds something."""
    if name in WITH_TIMM:
        pytest.importorskip("timm")
    params = {"image_size": 32} if name.startswith(("vit_b", "swin")) else {}
    backbone = built(name, **params).eval()
    assert len(backbone.sublayers) == {**TRANSFORMERS, **WITH_TIMM}[name]
    size = backbone.info.recipe["image_size"]
    x = torch.randint(0, 256, (1, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    parents = [each.attention.rpartition(".")[0] for each in backbone.sublayers]
    assert all(any(f"{parent}.".startswith(f"{block}.") for block in backbone.blocks) for parent in parents)
    block, pair = parents[0], backbone.sublayers[0]

    @torch.no_grad()
    def run() -> None:
        backbone(x)

    assert moved(backbone, block, run) > 0
    body = backbone.body
    with body.get_submodule(pair.attention).register_forward_hook(silent):
        assert moved(backbone, block, run) > 0
        with body.get_submodule(pair.feed_forward).register_forward_hook(silent):
            assert moved(backbone, block, run) == 0
    with body.get_submodule(pair.feed_forward).register_forward_hook(silent):
        assert moved(backbone, block, run) > 0


def test_channels_first_attention_is_no_sublayer() -> None:
    block = nn.ModuleDict({"attn": nn.Conv2d(4, 4, 1), "mlp": nn.Linear(4, 4)})
    assert find_sublayers(nn.Sequential(block)) == []
    block["attn"] = nn.Linear(4, 4)
    assert find_sublayers(nn.Sequential(block)) == [Sublayers("0.attn", "0.mlp")]
    assert find_sublayers(block) == [Sublayers("attn", "mlp")]


def test_replacing_puts_a_module_in_place_and_nothing_elsewhere() -> None:
    backbone = built("conv4", width=4)
    before = [name for name, _ in backbone.body.named_modules()]
    new = nn.Conv2d(4, 4, 3, padding=1)
    backbone.replace("block3.0", new)
    assert backbone.body.get_submodule("block3.0") is new
    assert [name for name, _ in backbone.body.named_modules()] == before
    with pytest.raises(AttributeError):
        backbone.replace("block3.9", new)
    with pytest.raises(AttributeError):
        replace_module(backbone.body, "block9", new)
    backbone.replace("", whole := nn.Flatten())
    assert backbone.body is whole
