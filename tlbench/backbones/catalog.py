"""Every backbone by name: what there is, what it is made of, and how to build it. Imports torch only to build."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from tlbench.backbones.families import conv4, huggingface, text_encoder, timm, torchvision
from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.info import BackboneInfo

if TYPE_CHECKING:
    from torch import Tensor

    from tlbench.backbones.backbone import Backbone


class Family(Protocol):
    """What the file of a family offers."""

    def describe(self, name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
        """Return the facts of one backbone; raises UserError."""

    def construct(self, info: BackboneInfo) -> Backbone:
        """Return the backbone with fresh weights from torch's global CPU generator."""


class Named(Family, Protocol):
    """A family that knows its names; none of it imports torch but ``construct``."""

    def summaries(self) -> dict[str, str]:
        """Return one line about each name of the family."""


class Publisher(Family, Protocol):
    """A family whose library publishes weights, which a recipe calls by the family's name."""

    def published(self, info: BackboneInfo) -> dict[str, Tensor]:
        """Return the weights that a recipe names; raises UserError."""


_NAMED: MappingProxyType[str, Named] = MappingProxyType(
    {"conv4": conv4, "text_encoder": text_encoder, "torchvision": torchvision}
)
_FAMILIES: MappingProxyType[str, Family] = MappingProxyType({**_NAMED, "hf": huggingface, "timm": timm})
_PUBLISHERS: MappingProxyType[str, Publisher] = MappingProxyType(
    {"hf": huggingface, "timm": timm, "torchvision": torchvision}
)
_PREFIXED = {huggingface.PREFIX: "hf", timm.PREFIX: "timm"}
PREFIXES = tuple(_PREFIXED)
"""What stands before the names of a library that must be imported to list them."""


@cache
def families() -> dict[str, str]:
    """Return the family of each backbone by name; names that follow a prefix are left out."""
    return {name: key for key, family in _NAMED.items() for name in family.summaries()}


def names() -> tuple[str, ...]:
    """Return the names of all backbones but those that follow a prefix."""
    return tuple(families())


def summaries() -> dict[str, str]:
    """Return one line about each backbone by name, and one about all that follow a prefix."""
    named = {name: line for family in _NAMED.values() for name, line in family.summaries().items()}
    return {**named, f"{huggingface.PREFIX}NAME": huggingface.SUMMARY, f"{timm.PREFIX}NAME": timm.SUMMARY}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts and the recipe of a backbone.

    Args:
        name: The architecture.
        params: Its options, as the suite gives them.
        weights: Where its weights come from: ``{"kind": "random"}``, ``{"kind": "torchvision", "name": "DEFAULT"}``,
            the same with ``timm`` or ``hf``, ``{"kind": "file", "sha256": ...}`` or
            ``{"kind": "pretrain", "method": ..., "dataset": ..., ...}``.

    Raises:
        UserError: The name, an option or the weights' name is unknown, or they do not go together.
    """
    family = next((key for prefix, key in _PREFIXED.items() if name.startswith(prefix)), families().get(name))
    if family is None:
        raise UserError(f"unknown backbone {name!r}", nearest(name, families()))
    if weights["kind"] in _PUBLISHERS and weights["kind"] != family:
        raise UserError(
            f"{name}: {weights['kind']} has no weights {weights['name']!r} for it",
            f"use weights: {family}" if family in _PUBLISHERS else "use weights: random, a file, or a pretrain block",
        )
    return _FAMILIES[family].describe(name, params, weights)


def tokenizer(info: BackboneInfo) -> str | None:
    """Return the tokeniser, as JSON, that a backbone comes with whatever its weights; None where it comes with none.

    Raises:
        UserError: It cannot be had, or is not the one that the recipe was made with.
    """
    return huggingface.tokenizer(info) if info.family == "hf" else None


def build(info: BackboneInfo, seed: int, weights_file: Path | None) -> Backbone:
    """Return the backbone that a recipe describes, on the CPU, in training mode.

    Fresh weights depend on the recipe without its weights and on the seed, and on nothing else; torch's global
    generators are left as they were.

    Args:
        info: What :func:`describe` returned.
        seed: Decides random weights.
        weights_file: The file of the weights, for the kinds ``file`` and ``pretrain``.

    Raises:
        UserError: The weights cannot be had, or do not fit.
    """
    import torch

    from tlbench.backbones import weights

    kind = info.weights
    if kind in ("file", "pretrain") and weights_file is None:
        raise ValueError(f"{info.label}: weights of kind {kind} need a file")
    architecture = {key: value for key, value in info.recipe.items() if key != "weights"}
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would also reseed the GPUs, whose state is not restored here.
        torch.default_generator.manual_seed(derive_seed("backbone", canonical(architecture), seed))
        backbone = _FAMILIES[info.family].construct(info)
    if kind in _PUBLISHERS:
        weights.load_weights(backbone, _PUBLISHERS[kind].published(info), f"{kind}'s {info.label}")
    elif weights_file is not None:
        state = weights.read_weights(weights_file)
        weights.load_weights(backbone, state, str(weights_file), exact=kind == "pretrain")
    return backbone
