"""Images to predict for: a file, a folder or zip of files, or images in memory, read as the training data were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError
from tlbench.core.paths import kind_of_file
from tlbench.data.file_tree import Entry, Tree
from tlbench.data.framing import Framing
from tlbench.data.image_decoding import fit, read_image
from tlbench.data.mixed_images import squared, to_image, to_pixels
from tlbench.inference.description import ImageReading
from tlbench.inference.inputs import Input, Unreadable

Pixels = NDArray[np.uint8]
_CHUNK = 64
_THREADS = 4


class ImageReader:
    """Brings images into the form in which the network's own preparation reads them.

    Args:
        reading: How the training data were read.
        framing: How the network has images scaled and cut.
        fill: What pads images that are not cut, a shade a channel.
    """

    def __init__(self, reading: ImageReading, framing: Framing, fill: tuple[int, ...]) -> None:
        self._reading = reading
        self._framing = framing
        self._fill = fill

    def read(self, source: Any) -> Iterator[Input | Unreadable]:
        """Yield the images (C, H, W) of a source in order, all of one size; what cannot be read is named.

        Args:
            source: A path of a file, a folder or a zip; or several paths, images of Pillow, or arrays of bytes (H, W),
                (H, W, 3) or (H, W, 4).

        Raises:
            UserError: There is no such path, or nothing in it.
        """
        if isinstance(source, str | Path):
            yield from self._at(Path(source))
            return
        yield from _in_threads(
            (partial(self._one, number, each) for number, each in enumerate(source)),
        )

    def _at(self, path: Path) -> Iterator[Input | Unreadable]:
        kind = kind_of_file(path)
        if not kind:
            raise UserError(
                f"{path}: there is no such file or folder", "give images: a file, a folder or a .zip of one"
            )
        if kind == "a file" and path.suffix.lower() != ".zip":
            yield self._try(str(path), lambda: self._decode(path.read_bytes(), str(path)))
            return
        with Tree(path) as tree:
            if not tree.files:
                raise UserError(f"{path}: there are no images", "give images: a file, a folder or a .zip of one")
            yield from _in_threads(partial(self._entry, tree, entry) for entry in tree.files)

    def _entry(self, tree: Tree, entry: Entry) -> Input | Unreadable:
        return self._try(entry.name, lambda: self._decode(tree.read(entry), entry.name))

    def _one(self, number: int, each: Any) -> Input | Unreadable:
        if isinstance(each, str | Path):
            return self._try(str(each), lambda: self._decode(Path(each).read_bytes(), str(each)))
        return self._try(str(number), lambda: self._framed(self._from_memory(each, str(number))))

    def _try(self, name: str, read: Callable[[], Pixels]) -> Input | Unreadable:
        try:
            return Input(name, read())
        except UserError as error:
            return Unreadable(name, error.message.removeprefix(name).lstrip(": "))
        except OSError as error:
            return Unreadable(name, str(error.strerror or error).lower())

    def _decode(self, data: bytes, name: str) -> Pixels:
        return self._framed(read_image(data, name, self._reading.shape[0], self._reading.image_size))

    def _from_memory(self, image: Any, name: str) -> Pixels:
        from PIL import Image

        if not isinstance(image, Image.Image):
            try:
                image = Image.fromarray(np.asarray(image))
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"{name}: is no image: {error}", "give a path, an image of Pillow, or bytes (H, W[, 3])"
                ) from error
        return fit(image, name, self._reading.shape[0], self._reading.image_size)

    def _framed(self, pixels: Pixels) -> Pixels:
        pixels = 255 - pixels if self._reading.invert else pixels
        _, height, width = self._reading.shape
        if not height:
            return squared(pixels, self._framing, self._fill)
        if pixels.shape[1:] == (height, width):
            return pixels
        from PIL import Image, ImageOps

        return to_pixels(ImageOps.fit(to_image(pixels), (width, height), Image.Resampling.BICUBIC))


def _in_threads(pieces: Iterable[Callable[[], Input | Unreadable]]) -> Iterator[Input | Unreadable]:
    """Yield the results of calls in order; image decoders release the interpreter's lock."""
    waiting = list[Callable[[], Input | Unreadable]]()
    with ThreadPoolExecutor(_THREADS) as pool:
        for piece in pieces:
            waiting.append(piece)
            if len(waiting) == _CHUNK:
                yield from pool.map(lambda call: call(), waiting)
                waiting = []
        yield from pool.map(lambda call: call(), waiting)
