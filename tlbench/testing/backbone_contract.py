"""The contract of backbone families, as checks that an author runs over a name.

def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_family("my_family")
    check_backbone("my_net", {"width": 8}, tmp_path)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.family import NamedFamily, TokenizingFamily
from tlbench.backbones.family_files import families
from tlbench.backbones.weights import load_weights, read_weights, save_weights
from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical
from tlbench.core.info import BackboneInfo

HEAVY = ("torch", "torchvision", "timm", "transformers", "numpy")
"""Libraries that listing families must not import."""

_RANDOM = {"kind": "random"}
_LISTED_ELSEWHERE = """
import sys
from tlbench.backbones.catalog import names, prefixes, publishers, summaries
names(), prefixes(), publishers(), summaries()
print(*(heavy for heavy in sys.argv[1:] if heavy in sys.modules))
"""


def check_lightness() -> None:
    """Check that listing the networks of all families, in a new process, imports nothing heavy."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _LISTED_ELSEWHERE, *HEAVY]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.strip(), "import heavy libraries inside the functions that need them"


def check_family(name: str) -> None:
    """Check what a family says of itself: a line about each of its networks, or one about all of them.

    Args:
        name: The family: the name of its file or entry point.
    """
    family = families()[name]
    assert family.summary.strip(), "the docstring opens with a line about the networks"
    if isinstance(family.code, NamedFamily):
        assert family.code.summaries(), "it lists a network"
        for network, line in family.code.summaries().items():
            assert line.strip(), f"there is a line about {network}"


def check_backbone(
    name: str, params: Mapping[str, Any], folder: Path, weights: Mapping[str, Any] | None = None
) -> Backbone:
    """Check that a network is what its recipe says, and that methods can work on it.

    Args:
        name: The network, as in a suite.
        params: Options that make a small one.
        folder: A folder of its own, for weights.
        weights: Where the weights come from; random ones by default. Published ones must be on this machine.

    Returns:
        The network, for further checks.
    """
    wanted = dict(weights or _RANDOM)
    info = describe(name, dict(params), wanted)
    _check_recipe(info)
    assert describe(name, dict(params), wanted) == info, "the same options have the same recipe"
    assert "no_such_option" in _refusal(name, {**params, "no_such_option": 1}, wanted), "unknown options are refused"
    state = torch.get_rng_state()
    backbone, again, other = build(info, 0, None), build(info, 0, None), build(info, 1, None)
    assert torch.equal(torch.get_rng_state(), state), "torch's global generator is left as it was"
    assert backbone.training, "a new network is in training mode"
    assert _same(backbone, again), "the same seed gives the same weights"
    assert info.weights != "random" or not _same(backbone, other), "another seed gives other random weights"
    _check_parts(backbone)
    _check_features(backbone)
    save_weights(backbone, folder / "weights.safetensors")
    load_weights(other, read_weights(folder / "weights.safetensors"), "the saved weights", exact=True)
    assert _same(backbone, other), "weights are saved and loaded whole"
    return backbone


def _refusal(name: str, params: dict[str, Any], weights: dict[str, Any]) -> str:
    """Return why a network is refused; empty where it is not."""
    try:
        describe(name, params, weights)
    except UserError as error:
        return error.message
    return ""


def _check_recipe(info: BackboneInfo) -> None:
    family = families()[info.family]
    canonical(info.recipe)  # raises where it is not JSON-like
    assert info.recipe["family"] == info.family
    assert info.recipe["name"], "the recipe names the architecture"
    assert info.label, "people call the network by a label"
    assert info.recipe.get("version", 1) == family.constants.VERSION
    if info.modality == "image":
        assert {"image_size", "channels", "mean", "std"} <= info.recipe.keys()
    else:
        assert {"max_length", "vocabulary"} <= info.recipe.keys()
        assert {"size", "pad", "mask", "special"} <= info.recipe["vocabulary"].keys()
        if isinstance(family.code, TokenizingFamily):
            assert family.code.tokenizer(info), "the tokeniser is there"
        else:
            assert "tokenizer" in info.recipe, "the recipe says which tokeniser is trained"


def _check_parts(backbone: Backbone) -> None:
    """Check that layer groups and blocks are parts of the body, and that groups hold each parameter once."""
    names = {name for name, _ in backbone.body.named_modules()} | {name for name, _ in backbone.body.named_parameters()}
    assert {part for group in backbone.layer_groups for part in group} <= names
    assert set(backbone.blocks) <= names
    assert {each.attention for each in backbone.sublayers} | {each.feed_forward for each in backbone.sublayers} <= names
    parameters = sorted(id(parameter) for parameter in backbone.body.parameters())
    for groups in (backbone.group_parameters(), backbone.fine_groups()):
        assert len(groups) >= 2, "a network has a stem and a top at least"
        assert all(groups), "no group is empty"
        assert sorted(id(parameter) for group in groups for parameter in group) == parameters
    assert not list(backbone.prepare.parameters()), "preparing inputs has no parameters"


@torch.no_grad()
def _check_features(backbone: Backbone) -> None:
    """Check that features are finite vectors of the stated width, and each depends on its own input alone."""
    backbone.eval()
    for x in _inputs(backbone):
        features = backbone(x)
        assert features.shape == (len(x), backbone.out_dim)
        assert torch.isfinite(features).all()
        alone = torch.cat([backbone(x[row : row + 1]) for row in range(len(x))])
        torch.testing.assert_close(features, alone, rtol=1e-3, atol=1e-4)
    backbone.train()


def _inputs(backbone: Backbone) -> list[Tensor]:
    """Return batches as a method gives them to a network: grey and coloured images of two sizes, or token ids."""
    generator, recipe = torch.Generator().manual_seed(0), backbone.info.recipe
    if backbone.info.modality == "image":
        size = recipe["image_size"]
        shapes = [(1, size, size), (3, size + 8, size + 8)]
        return [torch.randint(0, 256, (3, *shape), generator=generator, dtype=torch.uint8) for shape in shapes]
    assert backbone.vocabulary is not None
    pieces = sorted(set(range(backbone.vocabulary.size)) - set(backbone.vocabulary.special))[:8]
    lengths, width = (3, 8, 5), min(8, recipe["max_length"])
    ids = torch.full((len(lengths), width), backbone.vocabulary.pad, dtype=torch.int32)
    for row, length in enumerate(lengths):
        chosen = torch.randint(0, len(pieces), (min(length, width),), generator=generator)
        ids[row, : len(chosen)] = torch.tensor(pieces, dtype=torch.int32)[chosen]
    return [ids]


def _same(one: Backbone, other: Backbone) -> bool:
    states = one.body.state_dict(), other.body.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )
