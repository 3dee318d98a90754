"""Pixels: images as they are, in the place of a network, as a family of another distribution."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tlbench.backbones.options import label, read_options
from tlbench.core.config import Settings
from tlbench.core.info import BackboneInfo


class Params(Settings):
    """How images become vectors."""

    image_size: int = Field(8, ge=1, description="height and width that images are resized to")
    channels: Literal[1, 3] = Field(1, description="1 reads grey, 3 reads colour")
    euclidean: bool = Field(
        False, description="one more feature gives all vectors one length, so that cosines rank as distances do"
    )


def summaries() -> dict[str, str]:
    """Return one line about the family's only member."""
    return {"pixels": "the shades of an image, one feature each"}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts."""
    given = read_options(name, Params, params)
    recipe = {
        "name": name,
        "family": "pixels",
        "weights": weights,
        "mean": [0.0] * given.channels,
        "std": [1.0] * given.channels,
        **given.model_dump(),
    }
    return BackboneInfo(name, "pixels", "image", label(name, given.model_dump(), weights), recipe)


def construct(info: BackboneInfo) -> Any:
    """Return the flattened image."""
    import torch
    from torch import nn

    from tlbench.backbones.backbone import Backbone, BodyParts, Prepare, image_input

    class Lift(nn.Module):
        """Appends what the square of a vector (B, D) of values in [0, 1] lacks of D, as its root."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            lack = x.shape[1] - x.square().sum(1, keepdim=True)
            return torch.cat([x, lack.clamp(min=0).sqrt()], 1)

    width = info.recipe["channels"] * info.recipe["image_size"] ** 2
    body = [nn.Flatten(), *([Lift()] if info.recipe["euclidean"] else [])]
    out = width + info.recipe["euclidean"]
    return Backbone(info, Prepare(image_input(info)), nn.Sequential(*body), out, BodyParts([], []))
