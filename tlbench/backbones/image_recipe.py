"""What a network was made to read, what a suite says otherwise, and the entries of a recipe that come of both.

Recipes leave out what is usual of networks that tlbench trains itself: images scaled to the network's size as they are,
bilinearly. So a recipe says ``resize``, ``interpolation`` and ``fit`` (:class:`tlbench.data.framing.Framing`) where
they are otherwise. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.info import BackboneInfo
from tlbench.data.framing import Fit, Framing, Interpolation

_HALF = (0.5, 0.5, 0.5)
NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "half": (_HALF, _HALF),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation by the name that suites have for them."""


class ImageOptions(Settings):
    """Options that every family of published networks has; None means what the network was made for."""

    channels: Literal[1, 3] = Field(3, description="1 reads grey, 3 reads colour")
    normalization: Literal["half", "imagenet"] | None = Field(
        None, description="half maps [0, 1] to [-1, 1]; imagenet uses ImageNet's mean and deviation"
    )
    interpolation: Interpolation | None = Field(None, description="how images are scaled")
    crop: float | None = Field(
        None, gt=0, le=1, description="fraction of the scaled image's shorter side that is cut out and read"
    )


@dataclass(frozen=True)
class MadeFor:
    """How the evaluation of a network reads images.

    Attributes:
        image_size: Side of the square that it cuts out, in pixels.
        mean: What it subtracts, a value a channel.
        std: What it divides by after that.
        resize: Length that the shorter side is scaled to before; None where it is ``image_size``.
        interpolation: How it scales.
        fit: What becomes of images that are not square.
        fraction: What ``image_size`` is of ``resize``, where a fraction is what was stated.
    """

    image_size: int
    mean: tuple[float, ...] = _HALF
    std: tuple[float, ...] = _HALF
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    fit: Fit = "crop"
    fraction: float | None = None

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any]) -> MadeFor:
        """Return how a recipe, such as a file of weights carries, has images read."""
        mean, std = tuple(recipe["mean"]), tuple(recipe["std"])
        how = framing(recipe)
        return cls(how.image_size, mean, std, how.resize, how.interpolation, how.fit)

    def resize_for(self, size: int, crop: float | None = None) -> int:
        """Return the length to scale to for a square of another size.

        Args:
            size: Side of the square.
            crop: Its fraction of the length; None keeps that of the network.
        """
        crop = crop or self.fraction
        if crop is not None:
            return math.floor(size / crop)
        whole = self.image_size if self.resize is None else self.resize
        return size * whole // self.image_size


def framing(recipe: Mapping[str, Any]) -> Framing:
    """Return how a recipe has images scaled and cut."""
    size = recipe["image_size"]
    return Framing(size, recipe.get("resize", size), recipe.get("interpolation", "bilinear"), recipe.get("fit", "crop"))


def crop_fraction(info: BackboneInfo) -> float:
    """Return the sides of the middle of an image that a backbone reads, as a fraction; 1 for what reads no images."""
    return framing(info.recipe).crop_fraction if info.modality == "image" else 1.0


def image_entries(made: MadeFor, options: ImageOptions, size: int) -> dict[str, Any]:
    """Return the entries of a recipe that say how images are read.

    Args:
        made: What the network was made for.
        options: What the suite says otherwise.
        size: Side of the square that the network reads.
    """
    mean, std = NORMALIZATIONS[options.normalization] if options.normalization else (made.mean, made.std)
    if options.channels == 1:
        mean, std = ((round(sum(values) / len(values), 6),) for values in (mean, std))
    resize = made.resize_for(size, options.crop)
    interpolation = options.interpolation or made.interpolation
    return {
        "mean": list(mean),
        "std": list(std),
        "image_size": size,
        "channels": options.channels,
        **({} if resize == size else {"resize": resize}),
        **({} if interpolation == "bilinear" else {"interpolation": interpolation}),
        **({} if made.fit == "crop" else {"fit": made.fit}),
    }


def changed_options(made: MadeFor, options: ImageOptions) -> dict[str, Any]:
    """Return the options beside the size that differ from what the network was made for, for a label."""
    changed: dict[str, Any] = {} if options.channels == 3 else {"channels": options.channels}
    if options.normalization and NORMALIZATIONS[options.normalization] != (made.mean, made.std):
        changed["normalization"] = options.normalization
    if options.interpolation and options.interpolation != made.interpolation:
        changed["interpolation"] = options.interpolation
    if options.crop and made.resize_for(made.image_size, options.crop) != made.resize_for(made.image_size):
        changed["crop"] = options.crop
    return changed


def input_text(recipe: Mapping[str, Any]) -> str:
    """Return in one line how a recipe has inputs read, for the provenance of records."""
    if "image_size" not in recipe:
        pooled = f", pooling {recipe['pooling']}" if "pooling" in recipe else ""
        pooled += ", of length one" if recipe.get("normalize") else ""
        return f"up to {recipe['max_length']} tokens{pooled}" if "max_length" in recipe else ""
    how = framing(recipe)
    scaled = {
        "crop": f"the middle of a shorter side of {how.resize}",
        "squash": f"of both sides squashed to {how.resize}",
        "border": f"of a longer side of {how.resize}, padded",
    }[how.fit]
    stem = f"; {recipe['stem']} stem" if "stem" in recipe else ""
    constants = (" ".join(f"{value:g}" for value in recipe[key]) for key in ("mean", "std"))
    return "{} pixels, {}, {}; mean {}; deviation {}{}".format(
        how.image_size, scaled, how.interpolation, *constants, stem
    )
