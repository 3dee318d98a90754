"""What ``tlbench.json`` says of an exported model: architecture, inputs, classes, calibration, scores, provenance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import BackboneInfo
from tlbench.core.paths import kind_of_file
from tlbench.training.parameter_efficient.bottleneck_adapters import Activation

FORMAT = 1
"""Version of the folder; raised when an older tlbench could not read a newer one."""

DESCRIPTION, WEIGHTS, TOKENIZER, CARD = "tlbench.json", "model.safetensors", "tokenizer.json", "README.md"

Head = Literal["linear", "bottleneck", "probe", "neighbours", "centroids"]


class AdapterSite(Settings):
    """A bottleneck adapter beside a module of the backbone's body.

    Attributes:
        module: Name of the module that it adapts.
        inputs: Width of what it reads.
        outputs: Width of what it writes.
        width: Width of the bottleneck.
        scale: Factor of its output.
        activation: Between its two layers.
        parallel: Whether it reads the module's input.
        channels_first: Whether it works on maps (B, channels, H, W).
        tap: Name of the module whose input it reads in place of the module's own; empty for none.
    """

    module: str
    inputs: int
    outputs: int
    width: int
    scale: float
    activation: Activation
    parallel: bool
    channels_first: bool
    tap: str = ""


class NetworkDescription(Settings):
    """What stands on the backbone.

    Attributes:
        head: ``linear``; ``bottleneck`` (linear, batch normalisation, ReLU, linear) or ``linear`` without a width; or a
            classifier of features: ``probe`` (standardised, linear), ``neighbours``, ``centroids``.
        width: Width of the bottleneck; None where there is none.
        k: Number of neighbours.
        temperature: Of the neighbours' votes.
        transform: Of features, before distances to centroids.
        adapters: Adapters inside the backbone, in the order in which they are put there.
        plain_layout: Names of the kernels that lie in memory channels first, on which the last bits of a convolution
            depend; those of a backbone lie channels last.
    """

    head: Head
    width: int | None = None
    k: int = 0
    temperature: float = 1.0
    transform: str = ""
    adapters: tuple[AdapterSite, ...] = ()
    plain_layout: tuple[str, ...] = ()


class ImageReading(Settings):
    """How an image becomes what the network's own preparation reads; that one stands in the backbone's recipe.

    Attributes:
        shape: (channels, height, width) of the images that were trained on; height and width are 0 where they differed,
            and each image then is scaled and cut as the recipe says, from its own size.
        image_size: Side of the squares that images were brought to when they were decoded; None for none.
        invert: Whether shades are turned around.
    """

    shape: tuple[int, int, int]
    image_size: int | None = None
    invert: bool = False


class TextReading(Settings):
    """How a text becomes token ids, with the tokeniser in ``tokenizer.json``.

    Attributes:
        length: Most tokens of a text.
        pad: Id of padding.
    """

    length: int
    pad: int


class Calibration(Settings):
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599) of the model's logits.

    Attributes:
        temperature: Logits are divided by it; None where there were no labels to fit it by.
        examples: Number of held-out examples that it was fitted to.
        said: Which these are, or why there is no temperature.
    """

    temperature: float | None = Field(None, gt=0)
    examples: int = 0
    said: str = ""


class Description(Settings):
    """All that is known of an exported model beside its weights.

    Attributes:
        format: Version of the folder.
        tlbench: Version that wrote it.
        modality: What it reads.
        classes: Names of the classes; a logit's place is its class.
        backbone: Facts and recipe of the backbone.
        architecture: What else its family needs to build it; None for nothing.
        network: What stands on the backbone.
        images: How images are read, of a model of images.
        texts: How texts are read, of a model of texts.
        calibration: Of its confidence.
        weights: SHA-256 of the file of weights.
        scores: Scores on the test split of the cell; empty where the model has seen those labels.
        provenance: What it was trained on and by what, with versions.
        files: What else lies in the folder, by file name, in words.
    """

    format: int
    tlbench: str
    modality: Literal["image", "text"]
    classes: tuple[str, ...] = Field(min_length=1)
    backbone: dict[str, Any]
    architecture: dict[str, Any] | None = None
    network: NetworkDescription
    images: ImageReading | None = None
    texts: TextReading | None = None
    calibration: Calibration
    weights: str
    scores: dict[str, float] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _reads_something(self) -> Description:
        if (self.images is None) == (self.modality == "image") or (self.texts is None) == (self.modality == "text"):
            raise ValueError(f"does not say how it reads a {self.modality}")
        return self

    @property
    def backbone_info(self) -> BackboneInfo:
        """Facts and recipe of the backbone."""
        return BackboneInfo(**self.backbone)


def read_description(folder: Path) -> Description:
    """Return what a folder says of its model.

    Raises:
        UserError: It is no exported model, of a newer format, or damaged.
    """
    if kind_of_file(folder) != "a folder":
        raise UserError(f"{folder}: there is no such folder", _near(folder))
    file = folder / DESCRIPTION
    if kind_of_file(file) != "a file":
        raise UserError(f"{folder}: is no exported model: there is no {DESCRIPTION} in it", _near(folder))
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        version = stored["format"]
        if not isinstance(version, int) or version < 1:
            raise ValueError("format is no version")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: is no description of a model ({error})", _AGAIN) from error
    if version > FORMAT:
        raise UserError(
            f"{file}: the model has format {version}, and this tlbench reads up to {FORMAT}",
            f"it was written by tlbench {stored.get('tlbench', '?')}: install that version or a newer one",
        )
    try:
        return Description.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise UserError(f"{file}: is damaged: {where}: {first['msg']}", _AGAIN) from error


def _near(folder: Path) -> str:
    """Return a hint that names a model near a folder, where there is one."""
    try:
        inside = [each.parent for place in {folder, folder.parent} for each in place.glob(f"*/{DESCRIPTION}")]
    except OSError:
        inside = []
    return nearest(str(folder), map(str, inside)) if inside else "`tlbench export SELECTOR --to DIR` writes one"


_AGAIN = "export the model again"
