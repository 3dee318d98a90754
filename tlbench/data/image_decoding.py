"""Reads one image of any format into bytes (channels, height, width)."""

from __future__ import annotations

import ctypes
import io
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError
from tlbench.data.mixed_images import LONGEST_SHORT_SIDE, MixedImages, bounded, to_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 100_000_000
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
_ORIENTATION = 0x0112
_DRAWN = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG")  # programs and films: Pillow has only their heads


def read_header(data: bytes, name: str) -> tuple[tuple[int, int], bool]:
    """Return (height, width) as it will be shown and whether the image is grey, from its header alone.

    Raises:
        UserError: It is no image, or too large a one.
    """
    with _opened(data, name) as image:
        width, height = image.size
        turned = _orientation(image) >= 5
        return ((width, height) if turned else (height, width)), image.mode in _GREY


def read_image(data: bytes, name: str, channels: int, size: int | None) -> NDArray[np.uint8]:
    """Decode an image file.

    Args:
        data: The file.
        name: Its name, for messages.
        channels: 1 (grey) or 3 (colour).
        size: Side of the square to bring it to, see :func:`fit`; None keeps its size, up to a bound.

    Raises:
        UserError: It is no image, damaged, too large, or of a kind that has no 8-bit meaning.
    """
    with _opened(data, name) as image:
        image.load()
        return fit(_upright(image), name, channels, size)


def fit(image: Image, name: str, channels: int, size: int | None) -> NDArray[np.uint8]:
    """Return pixels (channels, height, width) of an opened image.

    A size scales the shorter side to it, smoothed, and cuts the middle square. Without one, an image with a shorter
    side of more than 512 pixels is scaled down to that, whole. What is transparent becomes white.

    Args:
        image: Any image.
        name: Its name, for messages.
        channels: 1 (grey) or 3 (colour).
        size: Side of the square; None keeps the size, up to the bound.

    Raises:
        UserError: The image's kind has no 8-bit meaning.
    """
    from PIL import Image as Images
    from PIL import ImageOps

    if image.mode.startswith("I;16"):
        image = Images.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise UserError(f"{name}: pixels of 32 bits", "save it with 8 or 16 bits a channel")
    elif image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Images.Resampling.BICUBIC)
    elif size is None and (most := bounded(image.height, image.width)) != (image.height, image.width):
        image = image.resize(most[::-1], Images.Resampling.BICUBIC)
    return to_pixels(image)


def _orientation(image: Image) -> int:
    """Return the orientation that EXIF says, from 1 (upright) to 8; 1 where EXIF is missing or cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow parses EXIF with many modules; the pixels do not depend on it
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image) -> Image:
    """Return the image as it is to be shown, turned by its orientation alone: its EXIF is never written again."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def mixed_note(images: MixedImages) -> str:
    """Return what a reader must know of images of several sizes, as they are kept."""
    smallest, largest = (images.sizes[at(images.sizes.prod(1))] for at in (np.argmin, np.argmax))
    (h0, w0), (h1, w1) = smallest.tolist(), largest.tolist()
    at_bound = images.sizes.min(1).max() == LONGEST_SHORT_SIDE
    bound = f", larger ones scaled down to a shorter side of {LONGEST_SHORT_SIDE} pixels" if at_bound else ""
    return (
        f"images differ in size, from {w0}x{h0} to {w1}x{h1}; they are kept so ({images.pixels.nbytes / 1e6:.0f} MB"
        f"{bound}), and each network reads the middle square of each, scaled as its own evaluation does"
    )


def sizes_differ(where: str, sizes: Sequence[tuple[int, int]]) -> UserError:
    """Return the error that asks for an image size, naming those that were seen as width x height."""
    seen = sorted(set(sizes))
    shown = ", ".join(f"{width}x{height}" for height, width in seen[:4])
    more = f", ... ({len(seen)} sizes in all)" if len(seen) > 4 else ""
    return UserError(
        f"{where}: the images differ in size: {shown}{more}",
        f"give image_size, e.g. image_size: {max(8, min(min(pair) for pair in seen))}",
    )


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image]:
    with _QUIET, _identified(data, name) as image:
        yield image


@contextmanager
def _identified(data: bytes, name: str) -> Iterator[Image]:
    from PIL import Image as Images
    from PIL import UnidentifiedImageError

    _silence_libtiff()
    try:
        image = Images.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise UserError(f"{name} is no image", "move it out, or mend it") from None
    except Images.DecompressionBombError:
        raise UserError(f"{name} is larger than {MAX_PIXELS // 10**6} megapixels", "scale it down") from None
    except Exception as error:  # decoders raise what they like: struct.error, TypeError, KeyError, OverflowError, ...
        raise UserError(f"{name} cannot be read as an image: {_reason(error)}", "move it out, or mend it") from error
    if image.format in _DRAWN:
        raise UserError(f"{name} is {image.format}, which other programs draw", "save it as PNG or JPEG")
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{name} is larger than {MAX_PIXELS // 10**6} megapixels", "scale it down")
    try:
        yield image
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} is damaged: {_reason(error)}", "move it out, or mend it") from error


class _Quiet:
    """Keeps back what Pillow warns of and logs about files while a thread reads one; the errors tell of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()
        self._level = logging.NOTSET

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:  # filters are those of the process: the last thread puts them back
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                self._level = logging.getLogger("PIL").level
                logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)
                logging.getLogger("PIL").setLevel(self._level)


_QUIET = _Quiet()


@cache
def _silence_libtiff() -> None:
    """Keep Pillow's libtiff from printing to the terminal what it thinks of files; the errors tell of it.

    Pillow has no way to say so. Where the library is not a file of its own, as outside Linux, nothing is done.
    """
    with suppress(OSError, AttributeError):
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        for file in {line.partition("/")[1] + line.partition("/")[2] for line in lines if "/libtiff" in line}:
            library = ctypes.CDLL(file)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
