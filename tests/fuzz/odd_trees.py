"""Folders and zips of pictures, with names, depths, strays, links and archives of all kinds."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from PIL import Image

from tlbench.core.paths import is_utf8

Kind = Literal[
    "picture", "grey", "large", "empty", "text", "cut", "folder", "link out", "link up", "gone", "loop", "pipe"
]
_CLASSES = [
    "cat", "dog", "Cat", "bus", "train", "\u00e9", "e\u0301", "a b", " cat", "cat ", "x" * 120, "🦉", "\u202ecat",
    "a\nb", "1", "-x", "[bold]",
    "~", "$HOME", "con", "cat.", "\u212bng", "ﬁsh", "a'b", 'a"b', "%s", "{x}", "\x7f", "test", "val",
    "caf\udce9", "\udcff",
]  # fmt: skip
_OUTER = [
    "train", "val", "test", "Train", "valid", "validation", "testing", "TEST", "dev", "unlabeled", "Unlabelled",
    "train2017", "my_test",
    "photo", "sketch", "Photo", "latin", "greek", "\u00e9", "e\u0301", "images",
]  # fmt: skip
_STRAYS = [
    "@eaDir",
    ".ipynb_checkpoints",
    "__MACOSX",
    ".hidden",
    "#recycle",
    "__pycache__",
    "Thumbs.db",
    "thumbs.db",
    ".DS_Store",
    "Icon\r",
]
_FILES = [
    "{}.png",
    "{}.PNG",
    "{}.jpg",
    "{}",
    "{}.png.png",
    " {}.png",
    "{} .png",
    "\u00e9{}.png",
    "e\u0301{}.png",
    "{}\n.png",
    "{}.txt",
    "._{}.png",
]
_PATHS = ["/abs/cat/1.png", "../cat/1.png", "cat/../dog/1.png", "cat\\1.png", "C:\\cat\\1.png", "cat//1.png",
    "./cat/1.png", "/", "..", "cat/./1.png", "\x00", "cat/"]  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing in a tree: its folders and name, and what it is; ``number`` tells pictures apart."""

    parts: tuple[str, ...]
    kind: Kind
    number: int

    @property
    def path(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True)
class TreePlan:
    """What a tree holds, how it is packed, and the parameters that go with it.

    Attributes:
        items: Files, folders and links.
        packing: Empty for a folder; else what is odd about the zip, or ``plain``.
        params: Of the source ``folder`` beside the path.
        extra: Names of further members of the zip.
    """

    items: tuple[Item, ...]
    packing: str
    params: dict[str, Any]
    extra: tuple[str, ...] = field(default=())


@st.composite
def trees(draw: DrawFn) -> TreePlan:
    """Return a plan of a tree, in about half of the cases one that can be read."""
    clean = draw(st.booleans())
    classes = draw(
        st.lists(st.sampled_from(_CLASSES[:24] if clean else _CLASSES), min_size=1 + clean, max_size=4, unique=True)
    )
    outer: list[str] = draw(
        st.sampled_from([[], [], ["train", "test"], ["Train", "valid", "TEST"], ["photo", "sketch"], ["a", "b", "c"]])
    )
    if not clean and draw(st.booleans()):
        outer = draw(st.lists(st.sampled_from(_OUTER), max_size=4, unique=True))
    items, number = [], 0
    for top in outer or [""]:
        for place, name in enumerate(classes):
            if outer == ["a", "b", "c"]:  # groups: no class in two of them
                name = f"{name}{top}{place}"[-100:]
            for _ in range(2 if clean else draw(st.integers(1, 3))):
                stem = _FILES[0] if draw(st.integers(0, 2)) < 2 else draw(st.sampled_from(_FILES[:9]))
                items.append(Item((*filter(None, [top]), name, stem.format(number)), "picture", number))
                number += 1
    if draw(st.integers(0, 4)) == 4:
        items = [Item(("wrapped", *item.parts), item.kind, item.number) for item in items]
    if draw(st.integers(0, 3)) == 3:
        parts = draw(st.sampled_from(items)).parts[: draw(st.integers(0, 2))]
        items.append(Item((*parts, draw(st.sampled_from(_STRAYS)), "0.png"), "text", -1))
    for _ in range(0 if clean else draw(st.sampled_from([0, 1, 1, 2, 3]))):
        items.append(_odd_item(draw, items, number))
        number += 1
    packing = draw(st.sampled_from(["", "", "plain", "plain", "deflated"]))
    extra: tuple[str, ...] = ()
    if packing and not clean:
        packing = draw(
            st.sampled_from(
                ["plain", "twice", "encrypted", "cut", "damaged", "method", "larger", "old names", "lzma", "bzip2"]
            )
        )
        extra = tuple(draw(st.lists(st.sampled_from(_PATHS), max_size=1 + (packing == "plain"))))
    params: dict[str, Any] = {}
    if not clean:
        params = draw(st.sampled_from([{}, {}, {}, {"layout": "classes"}, {"layout": "domains"},
            {"layout": "groups"}, {"image_size": 4}, {"rotations": True}, {"invert": True}, {"test_groups": 1},
            {"test_groups": ["a"], "layout": "groups"}, {"val_groups": 0}]))  # fmt: skip
    return TreePlan(tuple(items), packing, params, extra)


def _odd_item(draw: DrawFn, items: list[Item], number: int) -> Item:
    """Return something that may not belong there: a file of another kind, depth or name, a folder, a link."""
    kinds: list[Kind] = ["picture", "picture", "grey", "large", "empty", "text", "cut", "folder", "folder",
        "link out", "link up", "gone", "loop", "pipe"]  # fmt: skip
    kind = draw(st.sampled_from(kinds))
    base = draw(st.sampled_from(items)).parts
    above = base[: draw(st.integers(0, len(base) - 1))]
    below = draw(
        st.lists(st.sampled_from([*_CLASSES, *_OUTER, *_STRAYS, "d"]), max_size=draw(st.sampled_from([0, 1, 1, 8])))
    )
    return Item((*above, *below, draw(st.sampled_from(_FILES)).format(number)), kind, number)


@cache
def picture(number: int, kind: Kind = "picture") -> bytes:
    """Return a file: a small picture unlike all others, or something that is none."""
    if kind in ("empty", "text"):
        return b"" if kind == "empty" else b"no picture"
    side = 9 if kind == "large" else 6
    random = np.random.default_rng(number + 1)
    pixels = random.integers(0, 256, (side, side) if kind == "grey" else (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()[: 60 if kind == "cut" else None]


def build(plan: TreePlan, place: Path) -> tuple[Path, list[Item]]:
    """Make a tree in an empty folder.

    Returns:
        The folder or zip, and the files that are in it.
    """
    return (_pack if plan.packing else _lay_out)(plan, place)


def _lay_out(plan: TreePlan, place: Path) -> tuple[Path, list[Item]]:
    root, made = place / "tree", []
    root.mkdir()
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "9.png").write_bytes(picture(900))
    for item in plan.items:
        path = root.joinpath(*item.parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):
                continue
            if item.kind == "folder":
                path.mkdir()
            elif item.kind == "pipe":
                os.mkfifo(path)
            elif item.kind in ("link out", "link up", "gone", "loop"):
                target = {"link out": elsewhere, "link up": root, "gone": place / "nowhere", "loop": path}[item.kind]
                path.symlink_to(target)
            else:
                path.write_bytes(picture(item.number, item.kind))
                made.append(item)
        except OSError:
            continue  # a file where another's folder should be
    return root, made


def _pack(plan: TreePlan, place: Path) -> tuple[Path, list[Item]]:
    file, made = place / "tree.zip", []
    methods = {"deflated": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA, "bzip2": zipfile.ZIP_BZIP2}
    warnings.simplefilter("ignore", UserWarning)  # of names that stand twice
    with zipfile.ZipFile(file, "w", methods.get(plan.packing, zipfile.ZIP_STORED)) as archive:
        for item in plan.items:
            if not is_utf8(item.path):
                continue
            if item.kind == "folder":
                archive.writestr(item.path + "/", b"")
            elif item.kind in ("link out", "link up", "gone", "loop", "pipe"):
                continue
            else:
                archive.writestr(item.path, picture(item.number, item.kind))
                made.append(item)
        for number, name in enumerate(plan.extra):
            archive.writestr(zipfile.ZipInfo(name) if len(name) > 1 else _nameless(), picture(800 + number))
            made.append(Item(tuple(name.split("/")), "picture", 800 + number))
        if plan.packing == "twice" and made:
            item = made[0]
            archive.writestr(item.path, picture(700))
            made.append(Item(item.parts, "picture", 700))
    file.write_bytes(_garbled(file.read_bytes(), plan.packing))
    return file, made


def _nameless() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x")
    member.filename = "\x00"
    return member


def _garbled(data: bytes, packing: str) -> bytes:
    """Return a zip that is encrypted, cut, damaged, packed in an unknown way, or untrue about sizes and names."""
    content = bytearray(data)
    if packing == "cut":
        return bytes(content[: len(content) * 2 // 3])
    if packing == "damaged":
        content[60:70] = b"\x00" * 10
    start = 0
    while (start := content.find(b"PK\x01\x02", start)) >= 0:
        if packing == "encrypted":
            content[start + 8] |= 1
        elif packing == "method":
            content[start + 10] = 99
        elif packing == "larger":
            content[start + 24 : start + 28] = (2**31).to_bytes(4, "little")
        elif packing == "old names":
            content[start + 9] &= ~8
        start += 4
    if packing in ("encrypted", "method", "old names"):
        start = 0
        while (start := content.find(b"PK\x03\x04", start)) >= 0:
            if packing == "encrypted":
                content[start + 6] |= 1
            elif packing == "method":
                content[start + 8] = 99
            else:
                content[start + 7] &= ~8
            start += 4
    return bytes(content)
