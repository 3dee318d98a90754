"""How an image of any shape becomes the square that a network reads: the geometry of scaling and cutting.

As evaluations of torchvision and timm do it: the shorter side is scaled to a length and the middle square cut out. Few
networks were made for images that are squashed, or padded, into the square instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]
Fit = Literal["crop", "squash", "border"]


@dataclass(frozen=True)
class Framing:
    """How images are scaled and cut.

    Attributes:
        image_size: Side of the square, in pixels.
        resize: Length that the shorter side is scaled to before the middle square is cut out, in pixels; for ``squash``
            both sides, for ``border`` the longer one.
        interpolation: The kernel, which is widened where an image shrinks (antialiasing).
        fit: ``crop`` keeps the ratio of the sides and loses the ends of the longer one, ``squash`` does not keep it,
            ``border`` keeps it and pads with the mean.
    """

    image_size: int
    resize: int
    interpolation: Interpolation = "bilinear"
    fit: Fit = "crop"

    @property
    def crop_fraction(self) -> float:
        """Side of the square that the network reads, over the length that an image is scaled to."""
        return self.image_size / self.resize

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that an image is scaled to."""
        if self.fit == "squash" or height == width:
            return self.resize, self.resize
        if self.fit == "border":
            ratio = max(height, width) / self.resize
            return round(height / ratio), round(width / ratio)
        if height < width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize


def start_of_middle(length: int, size: int) -> int:
    """Return where the middle ``size`` pixels of ``length`` begin; negative where they are too few."""
    return round((length - size) / 2)
