"""Image encoders of Hugging Face: what their configuration and image processor say, and the network itself.

Of a network that reads images and texts (CLIP, SigLIP) it is the image tower. Features are what the library pools: the
class token of ViT, DINOv2 and CLIP, normalised; the answer of SigLIP's attention head; the mean of ConvNeXt's map. A
projection or a classifier after that is left out, as is a layer trained to pool for another task.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tlbench.backbones.huggingface_files import commit_or_hash, folder_of, library, load, quiet
from tlbench.backbones.image_recipe import ImageOptions, MadeFor
from tlbench.core.errors import UserError
from tlbench.data.framing import Fit, Interpolation

if TYPE_CHECKING:
    from torch import Tensor, nn

_HALF = (0.5, 0.5, 0.5)
_SQUASHED_FROM = 384  # ConvNeXt's processor squashes images to sizes from here on


class ImageParams(ImageOptions):
    """Options of Hugging Face's image encoders."""

    image_size: int | None = Field(None, ge=8, description="height and width of what the network reads")


@dataclass(frozen=True)
class ImageSource:
    """An image encoder as it lies in a folder or on the hub.

    Attributes:
        config: The library's configuration; of a network with several towers, that of the image tower.
        made: How its image processor has images read.
        content: The commit on the hub, or the hash of the folder's configuration.
    """

    config: Any
    made: MadeFor
    content: str


def image_config(config: Any) -> Any:
    """Return the configuration of the network that reads images; None where there is none."""
    tower = getattr(config, "vision_config", None)
    own = config if tower is None else tower
    network = library().MODEL_MAPPING.get(type(own), None)
    if network is None:
        return None
    reads = inspect.signature(network.forward).parameters
    return own if "pixel_values" in reads and "input_ids" not in reads else None


@cache
def find_image(name: str, revision_name: str) -> ImageSource | None:
    """Look an image encoder up, once a process; None where it is none.

    Args:
        name: As in the suite.
        revision_name: The revision on the hub, or ``DEFAULT``.

    Raises:
        UserError: It cannot be loaded.
    """
    theirs = library()
    content = commit_or_hash(name, revision_name)
    revision = "DEFAULT" if folder_of(name) is not None else content
    with quiet():
        config = image_config(load(theirs.AutoConfig.from_pretrained, name, revision))
        if config is None:
            return None
        try:
            processor = load(theirs.AutoImageProcessor.from_pretrained, name, revision)
        except UserError:  # it has none
            processor = None
    size = getattr(config, "image_size", 224)
    usual = MadeFor(int(size if isinstance(size, int) else min(size)), fit="squash")
    return ImageSource(config, usual if processor is None else _evaluation(processor, usual), content)


def _evaluation(processor: Any, usual: MadeFor) -> MadeFor:
    """Return how an image processor of the library has images read."""
    size, cut = (_sides(getattr(processor, key, None)) for key in ("size", "crop_size"))
    shorter = size.get("shortest_edge")
    resize, fit = shorter or size.get("height") or usual.image_size, _fit(shorter)
    image_size = resize
    fraction = getattr(processor, "crop_pct", None)
    if getattr(processor, "do_center_crop", False) and cut:
        image_size = cut.get("height") or cut.get("shortest_edge") or resize
    elif shorter and fraction:
        resize, fit = (shorter, "squash") if shorter >= _SQUASHED_FROM else (int(shorter / fraction), "crop")
    normal = getattr(processor, "do_normalize", True)
    mean, std = (getattr(processor, key, None) or _HALF for key in ("image_mean", "image_std"))
    kernel: Interpolation = "bilinear" if getattr(processor, "resample", 2) in (0, 2) else "bicubic"
    return MadeFor(
        image_size=image_size,
        mean=tuple(mean) if normal else (0.0, 0.0, 0.0),
        std=tuple(std) if normal else (1.0, 1.0, 1.0),
        resize=max(resize, image_size),
        interpolation=kernel,
        fit=fit,
    )


def _fit(shorter: int | None) -> Fit:
    return "crop" if shorter else "squash"


def _sides(value: Any) -> dict[str, int]:
    """Return a size of a processor by the names of its sides."""
    if value is None:
        return {}
    if isinstance(value, int):
        return {"height": value, "width": value}
    known = ("height", "width", "shortest_edge")
    got: dict[str, Any] = value if isinstance(value, dict) else {key: getattr(value, key, None) for key in known}
    return {key: int(got[key]) for key in known if got.get(key)}


def check_reads(name: str, source: ImageSource, size: int, options: ImageParams) -> None:
    """Check that an encoder reads images of a size, without values.

    Raises:
        UserError: It does not; the message quotes the option at fault.
    """
    channels = getattr(source.config, "num_channels", 3)
    if options.channels != channels:
        raise UserError(f"{name}: 'channels' must be {channels}: its weights read so many", "leave it out")
    try:
        width(source.config, size)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{name}: 'image_size' {size} does not fit: {reason}", f"it was made for {source.made.image_size}"
        ) from error


def width(config: Any, size: int) -> int:
    """Return the width of the feature vector, found by running the network without values."""
    import torch

    with torch.device("meta"), torch.no_grad(), quiet():
        body = image_body(library().AutoModel.from_config(config), size).eval()
        out: Tensor = body(torch.zeros(2, getattr(config, "num_channels", 3), size, size))
    if out.ndim != 2 or len(out) != 2:
        raise ValueError("it answers with maps or tokens, not with one vector an image")
    return out.shape[1]


def image_body(model: Any, size: int) -> nn.Module:
    """Return the network around a model of the library, for images of a size."""
    from tlbench.backbones.huggingface_body import ImageBody

    return ImageBody(model, size)
