"""Finds the classification datasets of the installed torchvision by reading its source, without importing it."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# Exported by torchvision.datasets, but with a target that is no class of the image, or no dataset at all.
_OTHER_TASKS = frozenset(
    (
        *(
            "CelebA",
            "Cityscapes",
            "CocoCaptions",
            "CocoDetection",
            "DatasetFolder",
            "FakeData",
            "Flickr30k",
            "Flickr8k",
        ),
        *("Flickr8k", "HMDB51", "ImageFolder", "Kinetics", "Kitti", "LFWPairs", "LFWPeople", "LSUN", "LSUNClass"),
        *("MovingMNIST", "PhotoTour", "SBDataset", "SBU", "UCF101", "VOCDetection", "VOCSegmentation", "VisionDataset"),
        "WIDERFace",
    )
)
_OUR_OWN = ("root", "transform", "target_transform", "download", "loader", "transforms", "is_valid_file", "allow_empty")
_CALLED = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}
_SPLITS: dict[str, tuple[str, dict[str, Any]]] = {
    "INaturalist": ("version", {"train": "2021_train", "val": "2021_valid"}),
    "Places365": ("split", {"train": "train-standard", "val": "val"}),
    "STL10": ("split", {"train": "train", "test": "test"}),
    "SVHN": ("split", {"train": "train", "test": "test"}),
}


@dataclass(frozen=True)
class DatasetClass:
    """How a dataset class of torchvision is called.

    Attributes:
        name: The class's name.
        summary: First sentence of its docstring.
        argument: The constructor's argument that chooses the split; empty where there is one part only.
        splits: Values of that argument by ``train``, ``val`` and ``test``.
        options: Its further arguments.
        downloads: Whether it can download itself.
    """

    name: str
    summary: str
    argument: str
    splits: dict[str, Any]
    options: tuple[str, ...]
    downloads: bool


@cache
def dataset_classes() -> dict[str, DatasetClass]:
    """Return the classification datasets by class name; empty where torchvision is not installed."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "datasets"
    exported = dict(_exports(folder / "__init__.py"))
    known = {}
    for module in sorted(set(exported.values())):
        tree = ast.parse((folder / f"{module}.py").read_text(encoding="utf-8"))
        known.update({node.name: node for node in tree.body if isinstance(node, ast.ClassDef)})
    read = (_read_class(name, known) for name in sorted(exported) if name in known and name not in _OTHER_TASKS)
    return {one.name: one for one in read if one is not None}


def _exports(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (class name, module) of what the package exports; modules for optical flow and stereo are private."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module and not node.module.startswith("_"):
            yield from ((alias.name, node.module) for alias in node.names)


def _read_class(name: str, known: dict[str, ast.ClassDef]) -> DatasetClass | None:
    lineage = list(_lineage(name, known))
    accepted = _accepted(lineage)
    argument, splits = _split_argument(name, accepted, lineage)
    if "root" not in accepted or (not splits and "split" in accepted):
        return None
    return DatasetClass(
        name=name,
        summary=_summary(lineage[0]),
        argument=argument,
        splits=splits,
        options=tuple(option for option in accepted if option not in (*_OUR_OWN, argument)),
        downloads="download" in accepted,
    )


def _lineage(name: str, known: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    node = known.get(name)
    while node is not None:
        yield node
        first = node.bases[0] if node.bases else None
        node = known.get(first.id) if isinstance(first, ast.Name) else None


def _accepted(lineage: list[ast.ClassDef]) -> tuple[str, ...]:
    """Return the constructor's arguments; those of the parent too where it takes **kwargs or is not there."""
    found: dict[str, None] = {}
    for node in lineage:
        init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
        if init is None:
            continue
        found.update(dict.fromkeys(argument.arg for argument in (*init.args.args[1:], *init.args.kwonlyargs)))
        if init.args.kwarg is None:
            break
    return tuple(found)


def _split_argument(name: str, accepted: tuple[str, ...], lineage: list[ast.ClassDef]) -> tuple[str, dict[str, Any]]:
    if name in _SPLITS:
        return _SPLITS[name]
    for flag in ("train", "background"):
        if flag in accepted:
            return flag, {"train": True, "test": False}
    values = next((literal for node in lineage if (literal := _split_values(node))), ())
    splits = {
        part: next(name for name in names if name in values)
        for part, names in _CALLED.items()
        if any(name in values for name in names)
    }
    return ("split", splits) if splits else ("", {})


def _split_values(node: ast.ClassDef) -> tuple[str, ...]:
    """Return the split names that a class checks its argument against."""
    for call in ast.walk(node):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "verify_str_arg"):
            continue
        if len(call.args) > 2 and isinstance(call.args[1], ast.Constant) and call.args[1].value == "split":
            try:
                return tuple(ast.literal_eval(call.args[2]))
            except ValueError:
                return ()
    return ()


def _summary(node: ast.ClassDef) -> str:
    text = (ast.get_docstring(node) or node.name).partition("\n\n")[0].partition("\n")[0]
    text = re.sub(r"`([^`<]+?)\s*<[^>]*>`_*", r"\1", text).replace("`", "").strip(" .")
    text = " ".join(text.split())
    return f"{text} (torchvision)"
