"""The user's own images: a folder of class folders, of domains or of groups of classes, or a zip of one."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.data.class_groups import choose_groups, deal_groups
from tlbench.data.decoded import Decoded, canvas
from tlbench.data.example_splits import divide
from tlbench.data.file_tree import Entry, Tree
from tlbench.data.image_decoding import mixed_note, read_header, read_image, sizes_differ
from tlbench.data.mixed_images import MixedImages, bounded
from tlbench.data.rotated_classes import TURNS, with_rotations
from tlbench.data.source import DataPath
from tlbench.data.split_folders import are_splits, leave_out_unlabeled, refuse_inner
from tlbench.data.split_names import split_of

VERSION = 3
Layout = Literal["classes", "domains", "groups"]
T = TypeVar("T")
R = TypeVar("R")
_BATCH = 256


class Params(Settings):
    """Where the images are and how their folders are meant."""

    path: DataPath = Field(description="a folder, or a .zip of one")
    layout: Literal["auto", "classes", "domains", "groups"] = Field(
        "auto", description="classes: class/img; domains: domain/class/img; groups: group/class/img"
    )
    image_size: int | None = Field(
        None, ge=4, le=1024, description="side of the squares to bring images to; by default they keep their size"
    )
    invert: bool = Field(False, description="dark strokes on white become bright ones on black")
    rotations: bool = Field(False, description="each class turned by 90, 180 and 270 degrees is a class of its own")
    test_groups: Annotated[int, Field(ge=1)] | tuple[str, ...] | None = Field(
        None, description="groups whose classes are for testing in episodes: how many, or their names"
    )
    val_groups: Annotated[int, Field(ge=0)] | tuple[str, ...] | None = Field(
        None, description="groups for validation; none beside test_groups holds out a fifth of the training classes"
    )


@dataclass(frozen=True)
class Example:
    """One image file with the folders that give it its meaning (``top`` is the domain or group, or empty)."""

    entry: Entry
    split: str
    top: str
    name: str


def signature(params: Params) -> Any:
    """Return the path and the mark of the listing: any change of a file gives another value."""
    path = Path(params.path)
    with Tree(path) as tree:
        return [str(path.resolve()), tree.mark()]


def content(params: Params) -> Any:
    """Return the names and hashes of all files."""
    with Tree(Path(params.path)) as tree:
        return tree.content()


def example_names(params: Params) -> Sequence[str]:
    """Return the path of each image within the folder or zip; copies that are turned have no name."""
    with Tree(Path(params.path)) as tree:
        return ["/".join(example.entry.parts) for example in arrange(tree, params.layout)[1]]


def decode(params: Params, folder: Path) -> Decoded:
    """Return the images, in the order of their paths.

    They keep their sizes, up to a bound, unless one is asked for. They are grey (one channel) if every file is, else
    colour. A file that is no image, a damaged one and a class
    folder without images are errors; hidden files are passed over.
    """
    with Tree(Path(params.path)) as tree:
        layout, examples, notes = arrange(tree, params.layout)
        headers = _each(lambda example: read_header(tree.read(example.entry), _full(tree, example)), examples)
        square = None if params.image_size is None else (params.image_size, params.image_size)
        sizes = [square or bounded(*size) for size, _ in headers]
        if params.rotations and len(set(sizes)) > 1:
            raise sizes_differ(str(tree.path), sizes)
        channels = 1 if all(grey for _, grey in headers) else 3
        x: NDArray[np.uint8] | MixedImages
        if len(set(sizes)) > 1:
            x = MixedImages.create(folder, sizes, channels)
            notes = (*notes, mixed_note(x))
        else:
            x = canvas(folder, (TURNS if params.rotations else 1) * len(examples), (channels, *sizes[0]))
        decoded = _label(x, layout, examples, params)
        decoded = replace(decoded, warnings=notes + decoded.warnings)

        def write(row: int) -> None:
            example, (height, width) = examples[row], sizes[row]
            pixels = read_image(tree.read(example.entry), _full(tree, example), channels, params.image_size)
            if pixels.shape[1:] != (height, width):
                raise UserError(
                    f"{_full(tree, example)} has another size than its header says: "
                    f"{pixels.shape[2]}x{pixels.shape[1]}, not {width}x{height}",
                    "save it anew",
                )
            x[row][:] = 255 - pixels if params.invert else pixels

        _each(write, range(len(examples)))
        return with_rotations(decoded, params.path) if params.rotations else decoded


def arrange(tree: Tree, layout: str) -> tuple[Layout, list[Example], tuple[str, ...]]:
    """Return the layout, what each file is, and notes for readers of the results.

    An outermost folder that holds all others is passed over (zips often have one). If all outermost folders are
    called as parts of a split (:mod:`tlbench.data.split_names`), they are the official split.

    Args:
        tree: The files.
        layout: A layout, or ``auto``: two levels of folders mean ``domains`` where each outer folder holds the same
            classes, and ``groups`` where no class name stands in two of them.

    Raises:
        UserError: The folders fit no layout, or several.
    """
    if not tree.files:
        raise UserError(f"{tree.path}: there are no images", "put them into one folder a class")
    skip = _wrapper(tree, layout)
    notes = tuple(note for note in (*tree.notes(), leave_out_unlabeled(tree, skip)) if note)
    skip = _wrapper(tree, layout)
    is_split = are_splits(tree, skip, layout)
    start = skip + is_split
    depths = {len(entry.parts) - start - 1 for entry in tree.files}
    levels = {"classes": {1}, "auto": {1, 2}}.get(layout, {2})
    if len(depths) > 1 or not depths <= levels:
        raise _misplaced(tree, start, levels)
    empty = _childless(tree, start, max(depths))
    if empty:
        raise UserError(f"{tree.path}: class folder {empty!r} has no images", "add images or remove the folder")
    examples = [
        Example(
            entry, split_of(entry.parts[skip]) if is_split else "", "/".join(entry.parts[start:-2]), entry.parts[-2]
        )
        for entry in tree.files
    ]
    if depths == {1}:
        return "classes", examples, notes
    refuse_inner(tree.path, layout, {example.name for example in examples})
    if layout == "auto":
        return _guess(tree, examples), examples, notes
    return "domains" if layout == "domains" else "groups", examples, notes


def _wrapper(tree: Tree, layout: str) -> int:
    """Return 1 where a single outermost folder holds everything and is no level of the layout, else 0."""
    outer = {entry.parts[0] for entry in tree.files}
    shallowest = min(len(entry.parts) for entry in tree.files)
    needed = 3 if layout in ("domains", "groups") else 2
    return int(len(outer) == 1 and shallowest > needed and len({parts[0] for parts in tree.folders}) == 1)


def _misplaced(tree: Tree, start: int, levels: set[int]) -> UserError:
    """Return the error that names a file at fault: one at a depth where fewer lie than at the usual one."""
    depth = {entry: len(entry.parts) - start - 1 for entry in tree.files}
    count = Counter(depth.values())
    usual = max((level for level in count if level in levels), key=lambda level: (count[level], level), default=None)
    wanted = max(levels) if usual is None else usual
    stray = next(entry for entry in tree.files if depth[entry] != wanted)
    if depth[stray] < wanted:
        return UserError(f"{tree.path}: {stray.name} lies in no class folder", "every file is an image in its class")
    if usual is not None:
        folder = "/".join(stray.parts[:-1])
        return UserError(
            f"{tree.path}: {stray.name} lies {depth[stray]} folders deep where the others lie {usual}",
            f"move it out, or all of {folder} if another program left that behind",
        )
    return UserError(
        f"{tree.path}: {stray.name} lies {depth[stray]} folders deep where the layout has {wanted}",
        "layout is classes (class/img), domains (domain/class/img) or groups (group/class/img)",
    )


def _childless(tree: Tree, start: int, depth: int) -> str:
    filled = {entry.parts[:level] for entry in tree.files for level in range(1, len(entry.parts))}
    empty = sorted(parts for parts in tree.folders - filled if start < len(parts) <= start + depth)
    return "/".join(empty[0]) if empty else ""


def _guess(tree: Tree, examples: Sequence[Example]) -> Layout:
    inner: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        inner[example.top].add(example.name)
    class_names = list(inner.values())
    if len(class_names) > 1 and all(names == class_names[0] for names in class_names):
        return "domains"
    if sum(map(len, class_names)) == len(set().union(*class_names)):
        return "groups"
    raise UserError(
        f"{tree.path}: some class names stand in several of the outer folders ({', '.join(sorted(inner)[:3])}, ...)",
        "say layout: domains if equal names are one class, layout: groups if they are different classes",
    )


def _label(x: Any, layout: Layout, examples: Sequence[Example], params: Params) -> Decoded:
    names = [f"{e.top}/{e.name}" if layout == "groups" else e.name for e in examples]
    classes, y = np.unique(np.asarray(names), return_inverse=True)
    known = tuple(map(str, classes))
    tops = [example.top for example in examples]
    domains = tuple(sorted(set(tops))) if layout == "domains" else ()
    splits = [example.split for example in examples] if examples[0].split else None
    parts = divide(params.path, splits, y, known, tops if domains else None)
    class_splits, warnings = parts.class_splits, parts.warnings
    groups = [name.rpartition("/")[0] for name in known]
    if params.test_groups is not None or params.val_groups is not None:
        _refuse_choice(layout, splits is not None, params)
        class_splits = choose_groups(params.path, groups, params.test_groups, params.val_groups)
    elif layout == "groups" and not class_splits:
        class_splits = deal_groups(groups)
        if not class_splits:
            warnings += ("fewer than 3 groups: episodes deal the classes without regard to groups",)
    return Decoded(
        x=x,
        y=y.astype(np.int64),
        part=parts.part,
        classes=known,
        domain=np.searchsorted(domains, tops).astype(np.int64) if domains else None,
        domains=domains,
        class_splits=class_splits,
        warnings=warnings,
    )


def _refuse_choice(layout: Layout, is_split: bool, params: Params) -> None:
    """Refuse a choice of groups where there are none, or where the folders are split already."""
    if layout != "groups":
        raise UserError(
            f"{params.path}: test_groups and val_groups choose among groups of classes, but its layout is {layout}",
            "groups lie as group/class/img; say layout: groups",
        )
    if is_split:
        raise UserError(f"{params.path}: its folders are split already", "leave out test_groups and val_groups")


def _each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Do a piece of work for all items in threads (image decoders release the interpreter's lock); an error ends it."""
    done: list[R] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), _BATCH):
            done.extend(pool.map(work, items[start : start + _BATCH]))
    return done


def _full(tree: Tree, example: Example) -> str:
    return f"{tree.path}: {example.entry.name}"
