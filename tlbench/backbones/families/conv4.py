"""Conv4, the four-block convolutional network of the few-shot literature (Snell et al. 2017, arXiv:1703.05175, 3.1)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tlbench.backbones.options import label, read_options
from tlbench.backbones.weights_metadata import recorded_recipe
from tlbench.core.config import Settings
from tlbench.core.info import BackboneInfo, WeightsContents

if TYPE_CHECKING:
    from tlbench.backbones.backbone import Backbone

_BLOCKS = ("block1", "block2", "block3", "block4")


class Params(Settings):
    """Options of Conv4; the defaults are the published network for Omniglot."""

    width: int = Field(64, ge=1, description="channels of each convolution")
    image_size: int = Field(28, ge=16, description="height and width that images are resized to")
    channels: Literal[1, 3] = Field(1, description="1 reads grey, 3 reads colour")


def summaries() -> dict[str, str]:
    """Return one line about each name."""
    return {"conv4": "Conv4 of the few-shot literature: Prototypical Networks, arXiv:1703.05175"}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts of a Conv4. Imports no torch.

    Raises:
        UserError: An option is impossible.
    """
    options = read_options(name, Params, params)
    values = options.model_dump(mode="json")
    changed = {key: value for key, value in values.items() if value != getattr(Params(), key)}
    half = [0.5] * options.channels
    recipe = {
        "name": name,
        "family": "conv4",
        "weights": weights,
        "stem": "standard",
        "mean": half,
        "std": half,
        **values,
    }
    return BackboneInfo(name, "conv4", "image", label(name, changed, weights), recipe)


def describe_file(
    name: str, params: dict[str, Any], weights: dict[str, Any], contents: WeightsContents
) -> BackboneInfo:
    """Return the facts of a Conv4 whose weights lie in a file, which says its options if tlbench wrote it.

    Raises:
        UserError: An option is impossible.
    """
    recorded = recorded_recipe(contents, name) or {}
    return describe(name, {**{key: recorded[key] for key in Params.model_fields if key in recorded}, **params}, weights)


def construct(info: BackboneInfo) -> Backbone:
    """Return the network with fresh weights from torch's global generator.

    Each block is a 3x3 convolution, batch normalisation, ReLU and 2x2 max-pooling; the last map is flattened, which
    gives ``width`` features for 28 x 28 images.
    """
    from torch import nn

    from tlbench.backbones.backbone import Backbone, BodyParts, Prepare, image_input

    width, size, channels = (info.recipe[key] for key in ("width", "image_size", "channels"))
    body = nn.Sequential(
        OrderedDict(
            {
                block: nn.Sequential(
                    nn.Conv2d(channels if block == _BLOCKS[0] else width, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(2),
                )
                for block in _BLOCKS
            },
            flatten=nn.Flatten(),
        )
    )
    return Backbone(
        info=info,
        prepare=Prepare(image_input(info)),
        body=body,
        out_dim=width * (size // 16) ** 2,
        parts=BodyParts([[block] for block in _BLOCKS], list(_BLOCKS)),
    )
