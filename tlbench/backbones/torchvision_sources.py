"""What torchvision offers for classification, read from its sources, because importing it would import torch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tlbench.data.framing import Interpolation

_PAPER = re.compile(r"`([^`<]+?)\s*<https?://(?:www\.)?arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Published:
    """One member of a weights enumeration.

    Attributes:
        image_size: Side of the square that torchvision's evaluation crops.
        mean: What its evaluation subtracts, a value a channel.
        std: What it divides by.
        resize: Length of the shorter side that it scales to before.
        interpolation: How it scales.
        whole: Whether all of the network was trained; False where the file lacks the fully connected layers.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int
    interpolation: Interpolation
    whole: bool


@dataclass(frozen=True)
class Model:
    """One model builder.

    Attributes:
        name: By which torchvision registers it.
        file: Stem of the source file, e.g. ``resnet``.
        paper: Title and arXiv number, or empty.
        patch: Side of the patches of a plain vision transformer; 1 for everything else.
        weights: Published weights by name, aliases left out.
        default: Which of them ``DEFAULT`` is.
    """

    name: str
    file: str
    paper: str
    patch: int
    weights: dict[str, Published]
    default: str


@cache
def models() -> dict[str, Model]:
    """Return every classification model of the installed torchvision by name."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed")
    models = {}
    for path in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "@register_model(" in text:
            models.update({model.name: model for model in _models(ast.parse(text), path.stem)})
    return dict(sorted(models.items()))


def _models(tree: ast.Module, file: str) -> Iterator[Model]:
    enums = {node.name: _members(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    for builder in tree.body:
        if not isinstance(builder, ast.FunctionDef) or not (decorators := list(_calls(builder, "register_model"))):
            continue
        arguments = [*decorators[0].args, *(keyword.value for keyword in decorators[0].keywords)]
        name = ast.literal_eval(arguments[0]) if arguments else builder.name
        members = next(enums[word] for word in _annotation(builder) if word in enums)
        default = members["DEFAULT"]
        paper = _PAPER.search(" ".join((ast.get_docstring(builder) or "").split()))
        yield Model(
            name=name,
            file=file,
            paper=f"{paper[1]}, arXiv:{paper[2]}" if paper else "",
            patch=next((p for call in _calls_in(builder) if isinstance(p := _given(call, "patch_size"), int)), 1),
            weights={key: value for key, value in members.items() if isinstance(value, Published)},
            default=default if isinstance(default, str) else "DEFAULT",
        )


def _members(enum: ast.ClassDef) -> dict[str, Published | str]:
    """Return the members of a weights enumeration; an alias is the name of another member."""
    members: dict[str, Published | str] = {}
    for node in enum.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if isinstance(node.value, ast.Name):
            members[node.targets[0].id] = node.value.id
        elif isinstance(node.value, ast.Call) and _name(node.value.func) == "Weights":
            members[node.targets[0].id] = _published(node.value)
    return members


def _published(call: ast.Call) -> Published:
    preset, meta = (next(k.value for k in call.keywords if k.arg == key) for key in ("transforms", "meta"))
    assert isinstance(preset, ast.Call)
    assert isinstance(meta, ast.Dict)
    categories = [v for k, v in zip(meta.keys, meta.values, strict=True) if _constant(k) == "categories"]
    return Published(
        image_size=_given(preset, "crop_size"),
        mean=_given(preset, "mean", _IMAGENET[0]),
        std=_given(preset, "std", _IMAGENET[1]),
        resize=_given(preset, "resize_size", 256),
        interpolation="bicubic" if _mode(preset) == "BICUBIC" else "bilinear",
        whole=not any(isinstance(node, ast.Constant) and node.value is None for node in categories),
    )


def _given(call: ast.Call, key: str, default: Any = None) -> Any:
    """Return the value of a keyword where it is written out, else the default."""
    for keyword in call.keywords:
        if keyword.arg == key:
            try:
                return _value(keyword.value)
            except ValueError:
                return default
    return default


def _mode(preset: ast.Call) -> str:
    """Return the name of the interpolation that a preset asks for; empty where it leaves that to the default."""
    values = (keyword.value for keyword in preset.keywords if keyword.arg == "interpolation")
    return next((value.attr for value in values if isinstance(value, ast.Attribute)), "")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _value(node.left) / _value(node.right)
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    return ast.literal_eval(node)


def _annotation(builder: ast.FunctionDef) -> Iterator[str]:
    """Yield the names in the annotation of the builder's argument ``weights``."""
    for argument in (*builder.args.args, *builder.args.kwonlyargs):
        if argument.arg == "weights" and argument.annotation is not None:
            yield from (node.id for node in ast.walk(argument.annotation) if isinstance(node, ast.Name))


def _calls(builder: ast.FunctionDef, name: str) -> Iterator[ast.Call]:
    return (d for d in builder.decorator_list if isinstance(d, ast.Call) and _name(d.func) == name)


def _calls_in(builder: ast.FunctionDef) -> Iterator[ast.Call]:
    return (node for node in ast.walk(builder) if isinstance(node, ast.Call))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _constant(node: ast.expr | None) -> Any:
    return node.value if isinstance(node, ast.Constant) else None
