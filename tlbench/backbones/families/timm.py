"""Any network of timm by its name there, e.g. timm:convnext_atto; weights timm or {timm: TAG}; extra timm.

The classifier is taken off.

Source: Wightman, PyTorch Image Models, doi:10.5281/zenodo.4414861. Its registry can only be read by importing it, which
imports torch; so this file does that for suites that name one of its networks, and for no other.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tlbench.backbones import hub
from tlbench.backbones.image_recipe import ImageOptions, MadeFor, changed_options, image_entries
from tlbench.backbones.options import label, read_options
from tlbench.backbones.weights_metadata import recorded_recipe
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import BackboneInfo, WeightsContents
from tlbench.data.framing import Fit

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlbench.backbones.backbone import Backbone, Sublayers

_PREFIX = "timm:"
_SMALL_SIZE = 32
_CROP = 0.875  # of the shorter side, where timm knows of no other
_FITS: dict[str, Fit] = {"squash": "squash", "border": "border"}
# How timm's sources name the classes that repeat; blocks of transformers are known by their sublayers.
_BLOCK = re.compile(
    r"(?!StageBlock$|LearnableAffineBlock$)\w*Block\w*|\w*Bottle2?neck\w*|\w*InvertedResidual|EdgeResidual|Residual|"
    r"\w*DepthwiseSeparable(Conv)?|\w*Basic|\w*MBConv|\w*Cell\d?|Inception[A-Z]|XceptionModule|HighResolutionModule|"
    r"MobileAttention|ConvEncoder"
)


class Params(ImageOptions):
    """Options of timm's networks; None means what suits network and weights, see :func:`describe`."""

    image_size: int | None = Field(None, ge=8, description="height and width of what the network reads")


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts of a network. Imports timm, and torch with it.

    With timm's weights images are scaled, cut and normalised as timm's own evaluation of those weights does. Otherwise
    they are mapped to [-1, 1], and are 32 pixels wide where the network takes any size and that one, else of the size
    that it was made for. Whether a size fits is found out by running the network without values.

    Raises:
        UserError: timm is not installed, the network, an option or the weights' tag is unknown, or the network cannot
            read such images or gives no feature vector.
    """
    return _describe(name, params, weights, None)


def describe_file(
    name: str, params: dict[str, Any], weights: dict[str, Any], contents: WeightsContents
) -> BackboneInfo:
    """Return the facts of a network whose weights lie in a file.

    A file that tlbench wrote says how images are read. For any other, they are read as timm's evaluation of the
    network's default weights does.

    Raises:
        UserError: As for :func:`describe`.
    """
    recorded = recorded_recipe(contents, name)
    if recorded is not None:
        params = {"channels": recorded["channels"], **params}
        return _describe(name, params, weights, MadeFor.of_recipe(recorded))
    _check_name(name)
    return _describe(name, params, weights, _evaluation(_configuration(name.removeprefix(_PREFIX), "")))


def _describe(name: str, params: dict[str, Any], weights: dict[str, Any], made: MadeFor | None) -> BackboneInfo:
    """Do the work of :func:`describe`; ``made`` is what the network was made for, where that is known already."""
    _check_name(name)
    own = name.removeprefix(_PREFIX)
    weights = _resolve_weights(name, weights)
    options = read_options(name, Params, params)
    tag = weights["name"] if weights["kind"] == "timm" else ""
    if tag:
        made = _evaluation(_configuration(own, tag))
    usual = MadeFor(_usual_size(own, options.channels)) if made is None else made
    size = options.image_size or usual.image_size
    if fault := _fault(own, tag, size, options.channels):
        at = f"'image_size' {size} does not fit: " if options.image_size else ""
        raise UserError(f"{name}: {at}{fault}", f"it was made for {_made_for(own, tag)}" if at else "")
    changed: dict[str, Any] = {} if size == usual.image_size else {"image_size": size}
    changed |= changed_options(usual, options)
    recipe = {
        "name": name,
        "family": "timm",
        "weights": weights,
        "stem": "standard",
        **image_entries(usual, options, size),
    }
    info = BackboneInfo(name, "timm", "image", label(name, changed, weights), recipe)
    return info if made is None else replace(info, made_for=made.image_size)


def _check_name(name: str) -> None:
    if name.removeprefix(_PREFIX) not in _library().list_models():
        known = (_PREFIX + each for each in _library().list_models())
        raise UserError(f"unknown backbone {name!r}", nearest(name, known))


def _evaluation(cfg: Any) -> MadeFor:
    """Return how timm's evaluation reads images for a network, as ``timm.data.transforms_imagenet_eval`` does."""
    return MadeFor(
        image_size=int(min(cfg.input_size[1:])),
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        interpolation="bilinear" if cfg.interpolation == "bilinear" else "bicubic",
        fit=_FITS.get(cfg.crop_mode, "crop"),
        fraction=cfg.crop_pct or _CROP,
    )


def construct(info: BackboneInfo) -> Backbone:
    """Return the network with fresh weights from torch's global generator, without its classifier."""
    from tlbench.backbones.backbone import Backbone, BodyParts, Prepare, find_sublayers, image_input
    from tlbench.backbones.layer_groups import find_blocks, layer_groups

    body = _create(*_choice(info), num_classes=0)
    sublayers = find_sublayers(body)
    kinds = _block_classes(body, sublayers)
    return Backbone(
        info=info,
        prepare=Prepare(image_input(info)),
        body=body,
        out_dim=body.head_hidden_size,
        parts=BodyParts(layer_groups(body, kinds), find_blocks(body, kinds), sublayers),
    )


def published(info: BackboneInfo) -> dict[str, Tensor]:
    """Return timm's weights for a recipe as timm itself loads them, from the cache of the Hugging Face hub.

    timm fits them to the recipe: position tables are resampled to the image size, and the first convolution is summed
    over its inputs for a network that reads grey images.

    Raises:
        UserError: They can neither be downloaded nor read.
    """
    own, tag, size, channels = _choice(info)
    try:
        # With its classifier: timm then insists that each tensor is there.
        model = hub.from_cache_first(lambda: _create(own, tag, size, channels, pretrained=True), (Exception,))
    except Exception as error:
        # The hub's client and its transport raise errors of many kinds, not all of them OSError.
        reason = " ".join(str(error).split())[:200]
        cfg = _configuration(own, tag)
        raise UserError(
            f"{info.label}: timm's weights cannot be had from {cfg.hf_hub_id or cfg.url} "
            f"({type(error).__name__}: {reason})",
            "load them once where there is a network and set HF_HOME to that cache (HF_HUB_OFFLINE=1 then keeps from "
            "asking the hub), or give the file itself: weights: {file: PATH}",
        ) from error
    model.reset_classifier(0)
    state: dict[str, Tensor] = model.state_dict()
    return state


def _library() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError(
            f"backbones {_PREFIX}NAME need the library {error.name}, which is not installed",
            "pip install 'tlbench[timm]', or uv sync --extra timm",
        ) from error
    return timm


def _choice(info: BackboneInfo) -> tuple[str, str, int, int]:
    """Return timm's name, the tag of its weights (empty without), image size and channels of a recipe."""
    weights = info.recipe["weights"]
    tag = weights["name"] if weights["kind"] == "timm" else ""
    return info.name.removeprefix(_PREFIX), tag, info.recipe["image_size"], info.recipe["channels"]


def _create(own: str, tag: str, size: int, channels: int, **arguments: Any) -> Any:
    sized = {"img_size": size} if _configuration(own, tag).fixed_input_size else {}
    return _library().create_model(own, pretrained_cfg=tag or None, in_chans=channels, **sized, **arguments)


def _configuration(own: str, tag: str) -> Any:
    """Return what timm knows of a network with certain weights; without a tag, with its default ones."""
    return _library().get_pretrained_cfg(f"{own}.{tag}" if tag else own)


def _resolve_weights(name: str, weights: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of a recipe, with the real tag for ``DEFAULT``."""
    if weights["kind"] != "timm":
        return weights
    own = name.removeprefix(_PREFIX)
    listed = _library().list_models(f"{own}.*", pretrained=True)
    tags = [each.removeprefix(f"{own}.") for each in listed]
    requested = str(weights.get("name", "DEFAULT"))
    if not tags:
        raise UserError(f"{name}: timm has no weights {requested!r} for it", "use weights: random, a file, or pretrain")
    tag = _configuration(own, "").tag if requested == "DEFAULT" else requested
    if tag not in tags:
        raise UserError(f"{name}: timm has no weights {requested!r} for it", nearest(requested, [*tags, "DEFAULT"]))
    return {**weights, "name": tag}


def _made_for(own: str, tag: str) -> int:
    return int(min(_configuration(own, tag).input_size[1:]))


def _usual_size(own: str, channels: int) -> int:
    """Return the size of a network without given weights."""
    if _configuration(own, "").fixed_input_size or _fault(own, "", _SMALL_SIZE, channels):
        return _made_for(own, "")
    return _SMALL_SIZE


@cache
def _fault(own: str, tag: str, size: int, channels: int) -> str:
    """Return why a network cannot turn images of a size into feature vectors, or nothing; computes shapes only."""
    import torch

    try:
        with torch.device("meta"), torch.no_grad():
            body = _create(own, tag, size, channels, num_classes=0).eval()
            out = body(torch.zeros(2, channels, size, size))
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        return str(error).strip().partition("\n")[0] or "too small, or not a multiple of what it divides images into"
    if not isinstance(out, torch.Tensor) or out.shape != (2, body.head_hidden_size):
        return "it answers with maps or tokens, not with one vector an image"
    patch = getattr(getattr(body, "patch_embed", None), "patch_size", 1)
    patch = patch if isinstance(patch, int) else patch[0]
    if size % patch and size != _made_for(own, tag):
        return f"it must be a multiple of {patch}"
    return ""


def _block_classes(body: nn.Module, sublayers: list[Sublayers]) -> set[str]:
    """Return the class names of the blocks; of a plain network, which has none, the poolings that end its stages."""
    names = {type(module).__name__ for module in body.modules()}
    parents = (each.attention.rpartition(".")[0] for each in sublayers)
    blocks = {name for name in names if _BLOCK.fullmatch(name)}
    return blocks | {type(body.get_submodule(parent)).__name__ for parent in parents} or {"MaxPool2d"}
