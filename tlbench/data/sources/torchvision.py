"""Any classification dataset of torchvision, by the name of its class; it downloads itself where it can."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import expand
from tlbench.data.decoded import Decoded, canvas
from tlbench.data.example_splits import divide
from tlbench.data.image_decoding import fit, mixed_note, sizes_differ
from tlbench.data.mixed_images import MixedImages, bounded
from tlbench.data.rotated_classes import TURNS, with_rotations
from tlbench.data.source import DownloadPath
from tlbench.data.torchvision_classes import DatasetClass, dataset_classes

VERSION = 2
_TIMEOUT = 30.0  # seconds without an answer after which a download fails
_GREY = ("1", "L", "LA", "I;16")

# These list their files in the order of the file system, which differs between machines: paths to sort them by.
_PATHS: dict[str, Callable[[Any], list[str]]] = {
    "Omniglot": lambda opened: [f"{opened._characters[c]}/{file}" for file, c in opened._flat_character_images],
    "SUN397": lambda opened: [str(file) for file in opened._image_files],
}

# Class names of some sets of digits, and what other sets call the same classes.
_DIGITS = {
    f"{digit} - {word}": str(digit)
    for digit, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
}


class TorchvisionParams(Settings):
    """Where the files lie, and how to read them."""

    root: DownloadPath | None = Field(
        None, description="folder of downloads; by default $TLBENCH_DATA or ~/.cache/tlbench"
    )
    image_size: int | None = Field(
        None, ge=4, le=1024, description="side of the squares to bring images to; by default they keep their size"
    )
    invert: bool = Field(False, description="dark strokes on white become bright ones on black")
    rotations: bool = Field(False, description="each class turned by 90, 180 and 270 degrees is a class of its own")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="further arguments of the dataset's class, e.g. {split: letters} for EMNIST"
    )


def sources() -> dict[str, TorchvisionDataset]:
    """Return the classification datasets of the installed torchvision by class name. Imports no torch."""
    return {name: TorchvisionDataset(one) for name, one in dataset_classes().items()}


@dataclass(frozen=True)
class TorchvisionDataset:
    """One classification dataset of torchvision."""

    dataset_class: DatasetClass
    Params = TorchvisionParams

    @property
    def summary(self) -> str:
        """First sentence of the class's docstring."""
        return self.dataset_class.summary

    def check(self, params: TorchvisionParams) -> None:
        """Refuse options that the class does not take.

        Raises:
            UserError: Naming the option.
        """
        name, known = self.dataset_class.name, self.dataset_class.options
        for option in params.options:
            if option not in known:
                hint = nearest(option, known) if known else f"{name} takes no options"
                raise UserError(f"{name}: 'options': unknown option {option!r}", hint)

    def signature(self, params: TorchvisionParams) -> Any:
        """Return torchvision's version and the folder; the files themselves are published and do not change."""
        return [version("torchvision"), version("pillow"), str(_root(params).resolve())]

    def decode(self, params: TorchvisionParams, folder: Path) -> Decoded:
        """Return the dataset with its official split, or a fifth of each class held out where it has none.

        Args:
            params: Folder, image size, options.
            folder: Where to put the images.

        Raises:
            UserError: It cannot be downloaded or read, images to turn differ in size, or its targets are no classes.
        """
        splits = _open_splits(self.dataset_class, params)
        x, targets = _read_images(splits, params, folder)
        names = {split: _class_names(part, targets[split]) for split, part in splits.parts.items()}
        classes = tuple(dict.fromkeys(name for of_split in names.values() for name in of_split.values()))
        if splits.sorted:
            classes = tuple(sorted(classes))
        label = {name: position for position, name in enumerate(classes)}
        y = np.asarray([label[names[split][target]] for split in splits.parts for target in targets[split]], np.int64)
        of_example = [split for split in splits.parts for _ in targets[split]] if self.dataset_class.splits else None
        parts = divide(splits.name, of_example, y, classes)
        warnings = (*parts.warnings, mixed_note(x)) if isinstance(x, MixedImages) else parts.warnings
        decoded = Decoded(x, y, parts.part, classes, class_splits=parts.class_splits, warnings=warnings)
        return with_rotations(decoded, splits.name) if params.rotations else decoded


@dataclass(frozen=True)
class _Splits:
    """The opened splits of a dataset.

    Attributes:
        name: Name of the dataset.
        parts: torchvision's dataset of each split, by ``train``, ``val`` and ``test``; by the empty name where the
            dataset has one part only.
        order: Positions of the examples of each split, in the order in which they are decoded.
        sorted: Whether that order is by path, because torchvision's own differs between machines.
    """

    name: str
    parts: dict[str, Any]
    order: dict[str, list[int]]
    sorted: bool


def _open_splits(dataset_class: DatasetClass, params: TorchvisionParams) -> _Splits:
    parts = {
        split: _open(dataset_class, params, {dataset_class.argument: value} if dataset_class.argument else {})
        for split, value in (dataset_class.splits or {"": None}).items()
    }
    paths = _PATHS.get(dataset_class.name)
    order = {
        split: sorted(range(len(part)), key=paths(part).__getitem__) if paths else list(range(len(part)))
        for split, part in parts.items()
    }
    return _Splits(dataset_class.name, parts, order, paths is not None)


def _root(params: TorchvisionParams) -> Path:
    """Return the folder of downloads: as given, else $TLBENCH_DATA, else ~/.cache/tlbench/downloads."""
    root = params.root or os.environ.get("TLBENCH_DATA")
    return expand(root) if root else Path.home() / ".cache" / "tlbench" / "downloads"


def _class_names(part: Any, targets: list[int]) -> dict[int, str]:
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


class _ColourImageError(Exception):
    """A dataset whose first image is grey has a coloured image."""


class _MixedSizesError(Exception):
    """An image has another size than the first."""


Images = NDArray[np.uint8] | MixedImages


def _read_images(splits: _Splits, params: TorchvisionParams, folder: Path) -> tuple[Images, dict[str, list[int]]]:
    """Write all images into the folder and return them with the targets of each split.

    Images are grey (one channel) if all of them are.
    """
    first, _ = _item(splits.name, next(iter(splits.parts.values())), 0)
    shape = (params.image_size,) * 2 if params.image_size else bounded(first.height, first.width)
    count = sum(map(len, splits.order.values()))
    turns = TURNS if params.rotations else 1
    for channels in (1, 3) if first.mode in _GREY else (3,):
        try:
            return _fill(canvas(folder, turns * count, (channels, *shape)), channels, splits, params)
        except _ColourImageError:
            continue
        except _MixedSizesError:
            break
    return _read_mixed(splits, params, folder)


def _read_mixed(splits: _Splits, params: TorchvisionParams, folder: Path) -> tuple[Images, dict[str, list[int]]]:
    """Do the work of :func:`_read_images` for images of several sizes, which are read twice."""
    sizes: list[tuple[int, int]] = []
    grey = True
    for split, part in splits.parts.items():
        for index in splits.order[split]:
            image, _ = _item(splits.name, part, index)
            sizes.append(bounded(image.height, image.width))
            grey = grey and image.mode in _GREY
    if params.rotations:
        raise sizes_differ(splits.name, sizes)
    channels = 1 if grey else 3
    return _fill(MixedImages.create(folder, sizes, channels), channels, splits, params)


def _fill(x: Images, channels: int, splits: _Splits, params: TorchvisionParams) -> tuple[Images, dict[str, list[int]]]:
    """Write the images of all splits; raises where one is coloured, or of another size, and there is no room."""
    targets: dict[str, list[int]] = {split: [] for split in splits.parts}
    row = 0
    for split, part in splits.parts.items():
        for index in splits.order[split]:
            image, target = _item(splits.name, part, index)
            if channels == 1 and image.mode not in _GREY:
                raise _ColourImageError
            place = f"{splits.name}: image {index} of {split or 'the set'}"
            pixels = fit(image, place, channels, params.image_size)
            if pixels.shape != x[row].shape:
                raise _MixedSizesError
            x[row][:] = 255 - pixels if params.invert else pixels
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


def _open(dataset_class: DatasetClass, params: TorchvisionParams, split: dict[str, Any]) -> Any:
    """Open one split: the files that are there, else download them."""
    from torchvision import datasets

    name, folder = dataset_class.name, _root(params)
    arguments = {"root": str(folder), **split, **params.options}
    construct = getattr(datasets, name)
    if not dataset_class.downloads:
        return _construct(name, folder, lambda: construct(**arguments))
    try:
        return construct(**arguments, download=False)
    except (RuntimeError, OSError):
        pass  # the files are not there, or not whole
    except (TypeError, ValueError, AssertionError, EOFError) as error:
        raise UserError(f"{name}: cannot be read from {folder}: {error}", "check options and files") from error
    with _exclusive_download(name, folder):
        return _construct(name, folder, lambda: construct(**arguments, download=True))


def _construct(name: str, folder: Path, construct: Callable[[], Any]) -> Any:
    try:
        return construct()
    except Exception as error:  # the network, the server, the disk or the format
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name}: cannot be had: {text[:300]}",
            f"put its files under {folder} (as torchvision names them), or run where there is a network",
        ) from error


@contextmanager
def _exclusive_download(name: str, folder: Path) -> Iterator[None]:
    """Let one process download at a time, and end a download whose server does not answer."""
    before = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"{name}: {folder} cannot be written: {error.strerror}", "give another root") from error
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
        lock.release()
