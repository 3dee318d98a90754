"""The family of torchvision's classification networks, each by its own name, with its classifier taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tlbench.backbones.options import label, read_options
from tlbench.backbones.torchvision_layouts import LAYOUTS, Layout, Small, layout_of
from tlbench.backbones.torchvision_sources import Model, Published, models
from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import BackboneInfo

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlbench.backbones.backbone import Backbone

_SMALL_SIZE = 32
_LARGEST_SMALL = 64
_HALF = (0.5, 0.5, 0.5)
_NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "half": (_HALF, _HALF),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Params(Settings):
    """Options of torchvision's networks; None means what suits network and weights, see :func:`describe`."""

    image_size: int | None = Field(None, ge=1, description="height and width that images are resized to")
    channels: Literal[1, 3] = Field(3, description="1 reads grey, 3 reads colour")
    stem: Literal["standard", "small"] | None = Field(None, description="small keeps the resolution of small images")
    normalization: Literal["half", "imagenet"] | None = Field(
        None, description="half maps [0, 1] to [-1, 1]; imagenet uses ImageNet's mean and deviation"
    )


def summaries() -> dict[str, str]:
    """Return one line about each name: the paper and the published weights, the default first."""
    return {name: _summary(model) for name, model in models().items()}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts of a network. Imports no torch.

    With torchvision's weights the image size, the mean and the deviation are those of their evaluation, and the stem
    is the standard one. Otherwise images are mapped to [-1, 1], and networks that have a stem for small images use it
    up to 64 pixels, 32 by default.

    Raises:
        UserError: An option or the weights' name is unknown, or network, size, stem and weights do not go together.
    """
    model = models()[name]
    weights, published = _published(model, weights)
    options = read_options(name, Params, params)
    values = _resolve(model, options, published)
    plain = _resolve(model, Params(), published)
    changed = {key: value for key, value in values.items() if key in Params.model_fields and value != plain[key]}
    mean, std = values.pop("normalization")
    if "normalization" in changed:
        changed["normalization"] = options.normalization
    if values["channels"] == 1:
        mean, std = ((round(sum(constants) / 3, 6),) for constants in (mean, std))
        values["grey"] = "the first convolution is summed over its three inputs"
    recipe = {"name": name, "family": "torchvision", "weights": weights, "mean": list(mean), "std": list(std), **values}
    return BackboneInfo(name, "torchvision", "image", label(name, changed, weights), recipe)


def construct(info: BackboneInfo) -> Backbone:
    """Return the network with fresh weights from torch's global generator, without its classifier."""
    import torchvision

    from tlbench.backbones.backbone import Backbone, BodyParts, Prepare, find_sublayers, image_input
    from tlbench.backbones.layer_groups import find_blocks, layer_groups

    layout, size = layout_of(models()[info.name]), info.recipe["image_size"]
    sized = {"image_size": size, "input_size": (size, size)}
    arguments = {key: value for key, value in sized.items() if key == layout.size_argument}
    body = torchvision.models.get_model(info.name, weights=None, **layout.arguments, **arguments)
    out_dim = _behead(body)
    if info.recipe["stem"] == "small":
        assert layout.small is not None
        _shrink_stem(body, layout.small)
    if info.recipe["channels"] == 1:
        _read_grey(body)
    return Backbone(
        info=info,
        prepare=Prepare(image_input(info)),
        body=body,
        out_dim=out_dim,
        parts=BodyParts(layer_groups(body, layout.blocks), find_blocks(body, layout.blocks), find_sublayers(body)),
    )


def published(info: BackboneInfo) -> dict[str, Tensor]:
    """Return torchvision's weights for a recipe, from torch's cache, or from the network where they are not in it.

    Raises:
        UserError: They can neither be downloaded nor read.
    """
    import pickle
    from pathlib import Path

    import torch
    import torchvision

    chosen = torchvision.models.get_model_weights(info.name)[info.recipe["weights"]["name"]]
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    try:
        return dict(chosen.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        if file.exists():
            raise UserError(
                f"{info.label}: torchvision's weights in {file} cannot be read ({reason})",
                "delete the file, so that it is downloaded again",
            ) from error
        raise UserError(
            f"{info.label}: torchvision's weights cannot be downloaded from {chosen.url} ({reason})",
            f"download them where there is a network and place them as {file}, or set TORCH_HOME to a folder "
            f"whose hub/checkpoints holds {file.name}",
        ) from error


def _summary(model: Model) -> str:
    ordered = sorted(model.weights, key=lambda name: name != model.default)
    return f"{model.paper or 'torchvision'}; weights {', '.join(ordered)}"


def _published(model: Model, weights: dict[str, Any]) -> tuple[dict[str, Any], Published | None]:
    """Return the weights of a recipe with the real name for ``DEFAULT``, and torchvision's facts about them."""
    if weights["kind"] != "torchvision":
        return weights, None
    requested = str(weights.get("name", "DEFAULT"))
    name = model.default if requested == "DEFAULT" else requested
    if name not in model.weights:
        raise UserError(
            f"{model.name}: torchvision has no weights {requested!r} for it",
            nearest(requested, {*model.weights, "DEFAULT"}),
        )
    if not model.weights[name].whole:
        raise UserError(
            f"{model.name}: {name} has no values for the fully connected layers", f"use {model.default} instead"
        )
    return {**weights, "name": name}, model.weights[name]


def _resolve(model: Model, options: Params, published: Published | None) -> dict[str, Any]:
    """Return image size, channels, stem and normalisation (as mean and deviation), all decided.

    Raises:
        UserError: They do not go together; the message quotes the option at fault.
    """
    layout = layout_of(model)
    size, stem = options.image_size, options.stem
    if stem is None:
        wanted = published is None and layout.small and (size is None or size <= _LARGEST_SMALL)
        stem = "small" if wanted else "standard"
    if stem == "small":
        _check_stem(model, layout, published)
    if size is None:
        size = _SMALL_SIZE if stem == "small" else published.image_size if published else layout.size
    _check_size(model, layout, stem, size, published)
    if options.normalization is not None:
        constants = _NORMALIZATIONS[options.normalization]
    elif published is not None and not layout.centred:
        constants = (published.mean, published.std)
    else:
        constants = _NORMALIZATIONS["half"]
    return {"image_size": size, "channels": options.channels, "stem": stem, "normalization": constants}


def _check_stem(model: Model, layout: Layout, published: Published | None) -> None:
    if layout.small is None:
        raise UserError(
            f"{model.name}: 'stem' small makes no sense for it",
            f"networks that have one: {', '.join(sorted(key for key, value in LAYOUTS.items() if value.small))}",
        )
    if published is not None and layout.small.kernel != layout.small.was:
        raise UserError(
            f"{model.name}: 'stem' small replaces the first convolution, which torchvision's weights then do not fit",
            "say stem: standard, or weights: random or pretrain",
        )


def _check_size(model: Model, layout: Layout, stem: str, size: int, published: Published | None) -> None:
    smallest = layout.small.smallest if stem == "small" and layout.small else layout.smallest
    step = layout.step * model.patch
    if size < smallest:
        raise UserError(
            f"{model.name}: 'image_size' {size} is too small", f"{smallest} is the least with a {stem} stem"
        )
    if size % step:
        below = max(size // step, 1) * step
        raise UserError(f"{model.name}: 'image_size' must be a multiple of {step}, not {size}", f"e.g. {below}")
    if published and layout.size_argument and size != published.image_size:
        raise UserError(
            f"{model.name}: 'image_size' must be {published.image_size} with these weights, not {size}",
            "they hold an entry for each position of an image of that size",
        )


def _behead(body: nn.Module) -> int:
    """Replace the classifier, the last layer that makes 1000 scores, by the identity; return the width of its input."""
    from torch import nn

    from tlbench.backbones.backbone import replace_module

    heads = [
        (name, module.in_features if isinstance(module, nn.Linear) else module.in_channels)
        for name, module in body.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == 1000)
        or (isinstance(module, nn.Conv2d) and module.out_channels == 1000)
    ]
    name, width = heads[-1]
    replace_module(body, name, nn.Identity())
    return width


def _shrink_stem(body: nn.Module, small: Small) -> None:
    """Put the small stem in place.

    The new kernel is the middle of the old one, scaled so that the variance of what it makes of white noise stays
    the same: so each network keeps the initialisation that its authors gave it.
    """
    import torch
    from torch import nn

    from tlbench.backbones.backbone import replace_module

    name, old = _first_convolution(body)
    padding = small.kernel // 2 if small.stride < small.kernel else 0
    new = nn.Conv2d(old.in_channels, old.out_channels, small.kernel, small.stride, padding, bias=old.bias is not None)
    side = old.kernel_size[0]
    start = (side - small.kernel) // 2
    middle = slice(start, start + small.kernel)
    with torch.no_grad():
        new.weight.copy_(old.weight[:, :, middle, middle] * (side / small.kernel))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    replace_module(body, name, new)
    if small.pool:
        replace_module(body, small.pool, nn.Identity())


def _read_grey(body: nn.Module) -> None:
    """Sum the first convolution over its inputs: a grey image counts as three equal channels."""
    from torch import nn

    _, first = _first_convolution(body)
    first.in_channels = 1
    first.weight = nn.Parameter(first.weight.detach().sum(1, keepdim=True))


def _first_convolution(body: nn.Module) -> tuple[str, nn.Conv2d]:
    from torch import nn

    return next((name, module) for name, module in body.named_modules() if isinstance(module, nn.Conv2d))
