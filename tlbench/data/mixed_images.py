"""Images that differ in size: kept as they are, one after the other, until a network says how it reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from tlbench.data.framing import Framing, start_of_middle
from tlbench.store.array_files import create_array

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SHORT_SIDE = 512
"""Images whose shorter side has more pixels are scaled down to it when they are decoded, unless a size is asked for."""

Pixels = NDArray[np.uint8]


class MixedImages(Sequence[Pixels]):
    """Images (C, H, W) of several sizes, in one array of bytes.

    Args:
        pixels: All bytes of all images.
        sizes: Height and width of each (N, 2).
        channels: 1 or 3.

    Attributes:
        pixels: The bytes.
        sizes: Height and width of each.
        channels: 1 or 3.
    """

    def __init__(self, pixels: Pixels, sizes: NDArray[np.int64], channels: int) -> None:
        self.pixels = pixels
        self.sizes = sizes
        self.channels = channels
        self._ends = np.cumsum(channels * sizes.prod(1))

    @classmethod
    def create(cls, folder: Path, sizes: Sequence[tuple[int, int]], channels: int) -> MixedImages:
        """Return images of zeros in a dataset's folder, to be written by :meth:`__getitem__`'s views.

        Raises:
            UserError: The disk has no room for them.
        """
        table = np.asarray(sizes, np.int64).reshape(-1, 2)
        total = int(channels * table.prod(1).sum())
        return cls(create_array(folder / "x.npy", np.uint8, (total,)), table, channels)

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pixels]: ...
    def __getitem__(self, index: int | slice) -> Pixels | list[Pixels]:
        """Return a view of one image (C, H, W), or a list of views for a slice."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        height, width = self.sizes[row]
        start = self._ends[row] - self.channels * height * width
        return self.pixels[start : self._ends[row]].reshape(self.channels, height, width)

    @property
    def usual_side(self) -> int:
        """The median of the shorter sides, in pixels."""
        return int(np.median(self.sizes.min(1)))


def bounded(height: int, width: int) -> tuple[int, int]:
    """Return the size (height, width) that an image has once it is decoded, where none is asked for."""
    if min(height, width) <= LONGEST_SHORT_SIDE:
        return height, width
    return Framing(LONGEST_SHORT_SIDE, LONGEST_SHORT_SIDE).scaled(height, width)


def to_image(pixels: Pixels) -> Image:
    """Return an image of Pillow of pixels (C, H, W)."""
    from PIL import Image

    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def to_pixels(image: Image) -> Pixels:
    """Return the pixels (C, H, W) of a grey or coloured image."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def squared(pixels: Pixels, framing: Framing, fill: tuple[int, ...]) -> Pixels:
    """Return the square (C, resize, resize) of an image, in whose middle is what a network reads.

    Args:
        pixels: The image (C, H, W).
        framing: How the network has images scaled and cut.
        fill: What pads an image that is not cut, a shade a channel.
    """
    from PIL import Image

    height, width = framing.scaled(*pixels.shape[1:])
    image = to_image(pixels).resize((width, height), Image.Resampling[framing.interpolation.upper()])
    side, size = framing.resize, framing.image_size
    if framing.fit == "border":
        canvas = Image.new(image.mode, (side, side), fill if len(fill) == 3 and image.mode == "RGB" else fill[0])
        canvas.paste(image, ((side - width) // 2, (side - height) // 2))
        return to_pixels(canvas)
    # Where rounding puts the middle: that of the middle of the square must be that of the image.
    within = start_of_middle(side, size)
    left, top = (min(max(start_of_middle(length, size) - within, 0), length - side) for length in (width, height))
    return to_pixels(image.crop((left, top, left + side, top + side)))


def thumbnails(images: MixedImages, side: int) -> Pixels:
    """Return the middle squares of images, scaled (N, C, side, side)."""
    framing = Framing(side, side)
    return np.stack([squared(image, framing, (0,)) for image in images])
