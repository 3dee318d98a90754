"""Any classification dataset of torchvision, by the name of its class; it downloads itself where it can."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.data.decoded import Decoded, canvas
from tlbench.data.example_splits import divide
from tlbench.data.image_decoding import fit, sizes_differ
from tlbench.data.rotated_classes import TURNS, with_rotations
from tlbench.data.torchvision_index import Signature, signatures

VERSION = 2
_PATIENCE = 30.0  # seconds without an answer before a download is given up
_GREY = ("1", "L", "LA", "I;16")

# These list their files in the order of the file system, which differs between machines: what to sort them by.
_PLACES: dict[str, Callable[[Any], list[str]]] = {
    "Omniglot": lambda opened: [f"{opened._characters[c]}/{file}" for file, c in opened._flat_character_images],
    "SUN397": lambda opened: [str(file) for file in opened._image_files],
}

# How some sets of digits call their classes, which others call by the digit alone.
_DIGITS = {
    f"{digit} - {word}": str(digit)
    for digit, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
}


class Params(Settings):
    """Where the files lie, and how to read them."""

    root: str | None = Field(None, description="folder of downloads; by default $TLBENCH_DATA or ~/.cache/tlbench")
    image_size: int | None = Field(None, ge=4, le=1024, description="side to scale to; by default the images' own")
    invert: bool = Field(False, description="dark strokes on white become bright ones on black")
    rotations: bool = Field(False, description="each class turned by 90, 180 and 270 degrees is a class of its own")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="further arguments of the dataset's class, e.g. {split: letters} for EMNIST"
    )


def check(name: str, params: Params) -> None:
    """Refuse options that the class does not take.

    Raises:
        UserError: Naming the option.
    """
    known = signatures()[name].options
    for option in params.options:
        if option not in known:
            hint = nearest(option, known) if known else f"{name} takes no options"
            raise UserError(f"{name}: 'options': unknown option {option!r}", hint)


def root(params: Params) -> Path:
    """Return the folder of downloads: as given, else $TLBENCH_DATA, else ~/.cache/tlbench/downloads."""
    given = params.root or os.environ.get("TLBENCH_DATA")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "tlbench" / "downloads"


def signature(params: Params) -> Any:
    """Return torchvision's version and the folder; the files themselves are published and do not change."""
    return [version("torchvision"), version("pillow"), str(root(params).resolve())]


def decode(name: str, params: Params, folder: Path) -> Decoded:
    """Return the dataset with its official split, or a fifth of each class held out where it has none.

    Args:
        name: The class's name.
        params: Folder, image size, options.
        folder: Where to put the images.

    Raises:
        UserError: It cannot be had or read, its images differ in size, or its targets are no classes.
    """
    found = signatures()[name]
    opened = {
        split: _open(found, params, {found.argument: value} if found.argument else {})
        for split, value in (found.splits or {"": None}).items()
    }
    sorted_by = _PLACES.get(name)
    order = {
        split: sorted(range(len(part)), key=sorted_by(part).__getitem__) if sorted_by else list(range(len(part)))
        for split, part in opened.items()
    }
    x, targets = _paint(name, opened, order, params, folder)
    named = {split: _named(part, targets[split]) for split, part in opened.items()}
    classes = tuple(dict.fromkeys(label for known in named.values() for label in known.values()))
    if sorted_by:
        classes = tuple(sorted(classes))
    position = {label: at for at, label in enumerate(classes)}
    y = np.asarray([position[named[split][target]] for split in opened for target in targets[split]], np.int64)
    parts = divide(name, [split for split in opened for _ in targets[split]] if found.splits else None, y, classes)
    decoded = Decoded(x, y, parts.part, classes, class_splits=parts.class_splits, warnings=parts.warnings)
    return with_rotations(decoded, name) if params.rotations else decoded


def _named(part: Any, targets: list[int]) -> dict[int, str]:
    """Return the names of the targets that occur, in their order; a number where the dataset has no name."""
    known: Any = ()
    for attribute in ("classes", "categories", "all_categories", "_characters"):
        known = getattr(part, attribute, None) or known
    names = {}
    for target in sorted(set(targets)):
        name = known[target] if target < len(known) else str(target)
        name = name if isinstance(name, str) else ", ".join(map(str, name))
        names[target] = _DIGITS.get(name, name)
    if len(set(names.values())) < len(names):
        names = {target: f"{name} ({target})" for target, name in names.items()}
    return names


class _ColourMetError(Exception):
    """A dataset that began in grey has a coloured image."""


def _paint(
    name: str, opened: dict[str, Any], order: dict[str, list[int]], params: Params, folder: Path
) -> tuple[NDArray[np.uint8], dict[str, list[int]]]:
    """Write all images to the folder's canvas and return it with the targets of each split."""
    first, _ = _item(name, next(iter(opened.values())), 0)
    channels = 1 if first.mode in _GREY else 3
    try:
        return _paint_as(name, opened, order, params, folder, first, channels)
    except _ColourMetError:
        return _paint_as(name, opened, order, params, folder, first, 3)


def _paint_as(
    name: str,
    opened: dict[str, Any],
    order: dict[str, list[int]],
    params: Params,
    folder: Path,
    first: Any,
    channels: int,
) -> tuple[NDArray[np.uint8], dict[str, list[int]]]:
    size, turns = params.image_size, TURNS if params.rotations else 1
    height, width = (first.height, first.width) if size is None else (size, size)
    x = canvas(folder, turns * sum(map(len, order.values())), (channels, height, width))
    targets: dict[str, list[int]] = {split: [] for split in opened}
    row = 0
    for split, part in opened.items():
        for index in order[split]:
            image, target = _item(name, part, index)
            if channels == 1 and image.mode not in _GREY:
                raise _ColourMetError
            if size is None and (image.height, image.width) != (height, width):
                raise sizes_differ(name, [(height, width), (image.height, image.width)])
            pixels = fit(image, f"{name}: image {index} of {split or 'the set'}", channels, size)
            x[row] = 255 - pixels if params.invert else pixels
            targets[split].append(target)
            row += 1
    return x, targets


def _item(name: str, part: Any, index: int) -> tuple[Any, int]:
    try:
        image, target = part[index]
    except Exception as error:  # whatever a damaged file makes the many readers raise
        raise UserError(f"{name}: image {index} cannot be read: {error}", "remove its files and run again") from error
    try:
        return image, int(target)
    except (TypeError, ValueError):
        raise UserError(f"{name}: the target of image {index} is no class: {target!r}") from None


def _open(found: Signature, params: Params, split: dict[str, Any]) -> Any:
    """Open one split: the files that are there, else download them."""
    from torchvision import datasets

    folder = root(params)
    arguments = {"root": str(folder), **split, **params.options}
    make = getattr(datasets, found.name)
    if not found.downloads:
        return _attempt(found.name, folder, lambda: make(**arguments))
    try:
        return make(**arguments, download=False)
    except (RuntimeError, OSError):
        pass  # the files are not there, or not whole
    except (TypeError, ValueError, AssertionError, EOFError) as error:
        raise UserError(f"{found.name}: cannot be read from {folder}: {error}", "check options and files") from error
    with _downloading(found.name, folder):
        return _attempt(found.name, folder, lambda: make(**arguments, download=True))


def _attempt(name: str, folder: Path, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # the network, the server, the disk or the format
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name}: cannot be had: {text[:300]}",
            f"put its files under {folder} (as torchvision names them), or run where there is a network",
        ) from error


@contextmanager
def _downloading(name: str, folder: Path) -> Iterator[None]:
    """Let one process download at a time, and no server keep it waiting for ever."""
    before = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"{name}: {folder} cannot be written: {error.strerror}", "give another root") from error
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
        lock.release()
