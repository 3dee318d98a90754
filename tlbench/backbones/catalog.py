"""Every backbone by name: which there are, their recipes, and how to build one. Imports torch only to build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.backbones import damaged_weights
from tlbench.backbones.family import (
    FileReadingFamily,
    NamedFamily,
    Publisher,
    SelfContainedFamily,
    TokenizingFamily,
)
from tlbench.backbones.family_files import families, family_of_name, publishers
from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import canonical, derive_seed, digest
from tlbench.core.info import BackboneInfo, WeightsContents
from tlbench.store.artifacts import Artifacts

if TYPE_CHECKING:
    from tlbench.backbones.backbone import Backbone

__all__ = [
    "architecture",
    "build",
    "check_weights",
    "construct",
    "describe",
    "family_of_name",
    "names",
    "prefixes",
    "publishers",
    "summaries",
    "tokenizer",
]


def names() -> tuple[str, ...]:
    """Return the names of all backbones but those that follow a prefix."""
    return tuple(family_of_name())


def prefixes() -> tuple[str, ...]:
    """Return what stands before the names of families whose library must be imported to list them, e.g. ``timm:``."""
    return tuple(family.prefix for family in families().values() if family.prefix)


def summaries() -> dict[str, str]:
    """Return one line about each backbone by name, and one about all that follow a prefix."""
    named: dict[str, str] = {}
    for family in families().values():
        if isinstance(family.code, NamedFamily):
            named = {**family.code.summaries(), **named}
    return {name: named[name] for name in names()} | {
        f"{family.prefix}NAME": family.summary for family in families().values() if family.prefix
    }


def describe(
    name: str, params: dict[str, Any], weights: dict[str, Any], contents: WeightsContents | None = None
) -> BackboneInfo:
    """Return the facts and the recipe of a backbone.

    Args:
        name: The architecture.
        params: Its options, as the suite gives them.
        weights: Where its weights come from: ``{"kind": "random"}``, ``{"kind": "torchvision", "name": "DEFAULT"}``,
            the same with another of :func:`publishers`, ``{"kind": "file", "sha256": ...}`` or
            ``{"kind": "pretrain", "method": ..., "dataset": ..., ...}``.
        contents: What the file of weights holds, where it has been looked at.

    Raises:
        UserError: The name, an option or the weights' name is unknown, or they do not go together.
    """
    prefixed = (family for family in families().values() if family.prefix and name.startswith(family.prefix))
    family = next(prefixed, None) or families().get(family_of_name().get(name, ""))
    if family is None:
        raise UserError(f"unknown backbone {name!r}", nearest(name, family_of_name()))
    kind, publishing = weights["kind"], publishers()
    if kind in publishing and kind != family.name:
        raise UserError(
            f"{name}: {kind} has no weights {weights['name']!r} for it",
            f"use weights: {family.name}" if family.name in publishing else _NO_PUBLISHED,
        )
    if contents is not None and isinstance(family.code, FileReadingFamily):
        info = family.code.describe_file(name, params, weights, contents)
    else:
        info = family.code.describe(name, params, weights)
    if family.constants.VERSION == 1:
        return info
    return replace(info, recipe={**info.recipe, "version": family.constants.VERSION})


_FITTING = 1  # raise it when other files fit
_NO_PUBLISHED = "use weights: random, a file, or a pretrain block"


def tokenizer(info: BackboneInfo) -> str | None:
    """Return the tokeniser, as JSON, that a backbone comes with whatever its weights; None where it comes with none.

    Raises:
        UserError: It cannot be loaded, or is not the one that the recipe was made with.
    """
    code = families()[info.family].code
    return code.tokenizer(info) if isinstance(code, TokenizingFamily) else None


def build(info: BackboneInfo, seed: int, weights_file: Path | None) -> Backbone:
    """Return the backbone that a recipe describes, on the CPU, in training mode.

    Fresh weights depend on the recipe without its weights and on the seed, and on nothing else; torch's global
    generators are left as they were.

    Args:
        info: What :func:`describe` returned.
        seed: Decides random weights.
        weights_file: The file of the weights, for the kinds ``file`` and ``pretrain``.

    Raises:
        UserError: The weights cannot be downloaded or read, or do not fit.
    """
    import torch

    from tlbench.backbones import weights

    kind, family = info.weights, families()[info.family].code
    if kind in ("file", "pretrain") and weights_file is None:
        raise ValueError(f"{info.label}: weights of kind {kind} need a file")
    architecture = _architecture(info)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would also reseed the GPUs, whose state is not restored here.
        torch.default_generator.manual_seed(derive_seed("backbone", canonical(architecture), seed))
        backbone = family.construct(info)
        published = family.published(info) if kind == info.family and isinstance(family, Publisher) else None
    if published is not None:
        weights.load_weights(backbone, published, f"{kind}'s {info.label}")
    elif weights_file is not None:
        state = weights.read_weights(weights_file)
        weights.load_weights(backbone, state, str(weights_file), exact=kind == "pretrain")
    backbone.to(memory_format=torch.channels_last)  # convolutions run up to twice as fast, on a CPU as on a GPU
    return backbone


def architecture(info: BackboneInfo) -> dict[str, Any] | None:
    """Return what :func:`construct` needs beside a recipe to build a backbone anywhere; None for nothing.

    Raises:
        UserError: What the recipe was made from is not there.
    """
    code = families()[info.family].code
    return code.architecture(info) if isinstance(code, SelfContainedFamily) else None


def construct(info: BackboneInfo, stored: dict[str, Any] | None = None) -> Backbone:
    """Return the network of a recipe with weights of no meaning, on the CPU, in training mode.

    Torch's global generators are left as they were.

    Args:
        info: Facts and recipe.
        stored: What :func:`architecture` returned; with it, nothing is looked up anywhere.

    Raises:
        UserError: The family is not installed, or a library that it needs.
    """
    import torch

    if info.family not in families():
        raise UserError(f"{info.label}: there is no family of backbones {info.family!r} here", _FAMILY)
    code = families()[info.family].code
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if stored is not None and isinstance(code, SelfContainedFamily):
            backbone = code.construct_stored(info, stored)
        else:
            backbone = code.construct(info)
    return backbone.to(memory_format=torch.channels_last)  # as :func:`build` does, on which last bits depend


_FAMILY = "install the distribution that offers it, in the version that the model was exported with"


def check_weights(info: BackboneInfo, file: Path, sha256: str, artifacts: Artifacts) -> None:
    """Refuse a file of weights that :func:`build` would refuse, by its names and shapes; no tensor is loaded.

    A file that fits is looked at once, so that whoever asks again need not import torch.

    Args:
        info: What :func:`describe` returned, with weights of the kind ``file``.
        file: The file.
        sha256: Hash of its content.
        artifacts: Where it is noted that they fit.

    Raises:
        UserError: It cannot be read, holds something else, or does not fit.
    """
    damaged_weights.check_content(file)

    def check(_: Path) -> None:
        from tlbench.backbones import weights

        weights.fitted(_shapes_only(info), weights.read_weights(file, names_only=True), str(file))

    artifacts.get("fitting_weights", digest([_FITTING, _architecture(info), sha256], length=32), check)


def _architecture(info: BackboneInfo) -> dict[str, Any]:
    return {key: value for key, value in info.recipe.items() if key != "weights"}


def _shapes_only(info: BackboneInfo) -> Backbone:
    """Return the network of a recipe without values, or with some where its library needs them to make it."""
    import torch

    construct = families()[info.family].code.construct
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return construct(info)
        except UserError:
            raise
        except Exception:  # networks that compute with values while they are made
            return construct(info)
