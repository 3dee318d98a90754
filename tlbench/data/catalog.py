"""Which datasets there are, whether their parameters are right, and how to open one."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import canonical, digest
from tlbench.core.problems import check
from tlbench.data import decoded
from tlbench.data.dataset import Dataset
from tlbench.data.torchvision_names import signatures
from tlbench.store.artifacts import Artifacts

# One file each; a file has Params, VERSION, signature(params) and decode(params, folder).
SOURCES = ("digits", "folder", "glyphs", "rendered_digits", "texts")


@dataclass(frozen=True)
class _Source:
    name: str
    version: int
    params: type[Settings]
    check: Callable[[Any], None]
    signature: Callable[[Any], Any]
    decode: Callable[[Any, Path], decoded.Decoded]


def names() -> tuple[str, ...]:
    """Return the names of all datasets: our own sources, then torchvision's classes. Imports no torch."""
    return (*SOURCES, *signatures())


def summaries() -> dict[str, str]:
    """Return one line for each dataset. Imports no torch."""
    own = {name: _first_line(Path(__file__).parent / f"{name}.py") for name in SOURCES}
    return own | {name: signature.summary for name, signature in signatures().items()}


def validate(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with the defaults filled in; opens nothing.

    Raises:
        UserError: The name or a parameter is unknown, or a value is wrong.
    """
    return _settings(_source(name), params).model_dump(mode="json")


def from_base(params: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return a dataset's parameters with absolute paths; relative ones start from ``base``."""
    return {
        key: str((base / Path(value).expanduser()).resolve())
        if key in ("path", "root") and isinstance(value, str) and value
        else value
        for key, value in params.items()
    }


def open_dataset(name: str, params: dict[str, Any], artifacts: Artifacts, base: Path | None = None) -> Dataset:
    """Open a dataset, decoding it if this machine has not done so since it changed.

    Args:
        name: One of :func:`names`, in any case.
        params: Its parameters; those left out have their defaults.
        artifacts: Where decoded datasets are kept.
        base: The folder that relative paths start from; by default the working directory.

    Raises:
        UserError: The name, a parameter, or the data are wrong.
    """
    source = _source(name)
    settings = _settings(source, from_base(params, base or Path.cwd()))
    label = _label(source, settings)
    content = source.signature(settings)
    key = digest([label, source.version, settings.model_dump(mode="json"), content, decoded.VERSION], length=32)

    def build(folder: Path) -> None:
        decoded.save(source.decode(settings, folder), label, folder)

    folder = artifacts.get("datasets", key, build)
    try:
        return decoded.load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{label}: the decoded data in {folder} is damaged: {error}", "delete that folder; it is made again"
        ) from error


def _source(name: str) -> _Source:
    if name in SOURCES:
        module = importlib.import_module(f"tlbench.data.{name}")
        return _Source(name, module.VERSION, module.Params, lambda _: None, module.signature, module.decode)
    known = names()
    found = next((other for other in known if other.lower() == str(name).lower()), None)
    if found is None:
        raise UserError(f"unknown dataset {name!r}", nearest(name, known))
    if found in SOURCES:
        return _source(found)
    from tlbench.data import torchvision_datasets as module

    return _Source(
        found,
        module.VERSION,
        module.Params,
        partial(module.check, found),
        module.signature,
        partial(module.decode, found),
    )


def _settings(source: _Source, params: dict[str, Any]) -> Settings:
    settings, problems = check(source.params, params)
    if settings is None:
        first = problems[0]
        raise UserError(f"dataset {source.name}: {first.what}", first.hint)
    source.check(settings)
    return settings


def _label(source: _Source, settings: Settings) -> str:
    """Return what people read: the name, the file's stem, and the parameters that differ from the defaults."""
    said = []
    for key, field in source.params.model_fields.items():
        value = getattr(settings, key)
        if key == "path":
            said.append(Path(value).stem)
        elif key != "root" and value != field.get_default(call_default_factory=True):
            inner = value if isinstance(value, dict) else {key: value}
            said += [f"{k}={v if isinstance(v, str) else canonical(v)}" for k, v in inner.items()]
    return f"{source.name}({','.join(said)})" if said else source.name


def _first_line(file: Path) -> str:
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0].strip()
