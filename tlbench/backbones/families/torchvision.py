"""The family of torchvision's classification networks, each by its own name, with its classifier taken off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tlbench.backbones.image_recipe import NORMALIZATIONS, ImageOptions, MadeFor, changed_options, image_entries
from tlbench.backbones.options import label, read_options
from tlbench.backbones.torchvision_layouts import LAYOUTS, Layout, Small, layout_of
from tlbench.backbones.torchvision_sources import Model, Published, models
from tlbench.backbones.weights_metadata import recorded_recipe
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import BackboneInfo, WeightsContents

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlbench.backbones.backbone import Backbone

_SMALL_SIZE = 32
_LARGEST_SMALL = 64


class Params(ImageOptions):
    """Options of torchvision's networks; None means what suits network and weights, see :func:`describe`."""

    image_size: int | None = Field(None, ge=1, description="height and width of what the network reads")
    stem: Literal["standard", "small"] | None = Field(None, description="small keeps the resolution of small images")


@dataclass(frozen=True)
class Given:
    """What is known of weights that are given, rather than random.

    Attributes:
        made: How images are read in their evaluation.
        stem: The stem that they have.
        published: Whether torchvision publishes them.
    """

    made: MadeFor
    stem: str = "standard"
    published: bool = True


def summaries() -> dict[str, str]:
    """Return one line about each name: the paper and the published weights, the default first."""
    return {name: _summary(model) for name, model in models().items()}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts of a network. Imports no torch.

    With torchvision's weights images are scaled, cut and normalised as torchvision's evaluation of them does, and the
    stem is the standard one. Otherwise images are mapped to [-1, 1], and networks that have a stem for small images
    use it up to 64 pixels, 32 by default.

    Raises:
        UserError: An option or the weights' name is unknown, or network, size, stem and weights do not go together.
    """
    model = models()[name]
    weights, published = _published(model, weights)
    given = None if published is None else Given(_evaluation(model, published))
    return _describe(model, params, weights, given)


def describe_file(
    name: str, params: dict[str, Any], weights: dict[str, Any], contents: WeightsContents
) -> BackboneInfo:
    """Return the facts of a network whose weights lie in a file. Imports no torch.

    A file that tlbench wrote says how images are read. Of any other, the shape of the first convolution tells the small
    stem from the standard one where the two differ; with the standard one, images are read as torchvision's evaluation
    of its default weights does.

    Raises:
        UserError: As for :func:`describe`.
    """
    model = models()[name]
    recorded = recorded_recipe(contents, name)
    if recorded is not None:
        params = {"channels": recorded["channels"], **params}
        given = Given(MadeFor.of_recipe(recorded), recorded["stem"], published=False)
    elif _is_small(layout_of(model), contents):
        given = Given(MadeFor(_SMALL_SIZE), "small", published=False)
    else:
        given = Given(_evaluation(model, model.weights[model.default]), published=False)
    return _describe(model, params, weights, given)


def _describe(model: Model, params: dict[str, Any], weights: dict[str, Any], given: Given | None) -> BackboneInfo:
    """Do the work of :func:`describe` and :func:`describe_file`."""
    options = read_options(model.name, Params, params)
    (size, stem), (usual_size, usual_stem) = (_resolve(model, each, given) for each in (options, Params()))
    made = MadeFor(usual_size) if given is None else given.made
    changed: dict[str, Any] = {} if size == usual_size else {"image_size": size}
    changed |= changed_options(made, options)
    changed |= {} if stem == usual_stem else {"stem": stem}
    order = ("image_size", "channels", "stem", "normalization", "interpolation", "crop")
    changed = {key: changed[key] for key in order if key in changed}
    recipe = {
        "name": model.name,
        "family": "torchvision",
        "weights": weights,
        **image_entries(made, options, size),
        "stem": stem,
    }
    if options.channels == 1:
        recipe["grey"] = "the first convolution is summed over its three inputs"
    made_for = 0 if given is None else given.made.image_size
    return BackboneInfo(
        model.name, "torchvision", "image", label(model.name, changed, weights), recipe, made_for=made_for
    )


def _evaluation(model: Model, published: Published) -> MadeFor:
    """Return how torchvision's evaluation reads images, which some networks normalise further inside."""
    how = published.resize, published.interpolation
    if layout_of(model).centred:
        return MadeFor(published.image_size, *NORMALIZATIONS["half"], *how)
    return MadeFor(published.image_size, published.mean, published.std, *how)


def _is_small(layout: Layout, contents: WeightsContents) -> bool:
    """Say whether a file's first convolution is that of the small stem; not where both stems have the same."""
    if layout.small is None or not layout.small.first:
        return False
    first = layout.small.first
    named = [name for name in contents.shapes if name == first or name.endswith(f".{first}")]
    shape = contents.shapes[min(named, key=len)] if named else ()
    return len(shape) == 4 and shape[-1] == layout.small.kernel


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


def _resolve(model: Model, options: Params, given: Given | None) -> tuple[int, str]:
    """Return image size and stem, decided.

    Raises:
        UserError: They do not go together; the message quotes the option at fault.
    """
    layout = layout_of(model)
    size, stem = options.image_size, str(options.stem or "")
    if not stem and given is not None:
        stem = given.stem
    elif not stem:
        stem = "small" if layout.small and (size is None or size <= _LARGEST_SMALL) else "standard"
    if stem == "small":
        _check_stem(model, layout, given)
    if size is None:
        small = stem == "small" and (given is None or given.stem == "standard")
        size = _SMALL_SIZE if small else given.made.image_size if given else layout.size
    _check_size(model, layout, stem, size, given)
    return size, stem


def _check_stem(model: Model, layout: Layout, given: Given | None) -> None:
    if layout.small is None:
        raise UserError(
            f"{model.name}: 'stem' small makes no sense for it",
            f"networks that have one: {', '.join(sorted(key for key, value in LAYOUTS.items() if value.small))}",
        )
    if given is not None and given.stem != "small" and layout.small.kernel != layout.small.was:
        raise UserError(
            f"{model.name}: 'stem' small replaces the first convolution, which {_whose(given)} weights then do not fit",
            "say stem: standard, or weights: random or pretrain",
        )


def _whose(given: Given) -> str:
    return "torchvision's" if given.published else "the file's"


def _check_size(model: Model, layout: Layout, stem: str, size: int, given: Given | None) -> None:
    smallest = layout.small.smallest if stem == "small" and layout.small else layout.smallest
    step = layout.step * model.patch
    if size < smallest:
        raise UserError(
            f"{model.name}: 'image_size' {size} is too small", f"{smallest} is the least with a {stem} stem"
        )
    if size % step:
        below = max(size // step, 1) * step
        raise UserError(f"{model.name}: 'image_size' must be a multiple of {step}, not {size}", f"e.g. {below}")
    if given and given.published and layout.size_argument and size != given.made.image_size:
        raise UserError(
            f"{model.name}: 'image_size' must be {given.made.image_size} with these weights, not {size}",
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
