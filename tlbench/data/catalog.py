"""Which datasets there are, whether their parameters are right, and how to open one."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import canonical, digest
from tlbench.core.info import PAIR
from tlbench.core.label_provenance import within
from tlbench.core.validation import check
from tlbench.data import decoded
from tlbench.data.dataset import Dataset
from tlbench.data.sources import pair
from tlbench.data.torchvision_index import signatures
from tlbench.store.artifacts import Artifacts

# One file each: Params, VERSION, signature(params) and decode(params, folder). A pair joins what others open.
SOURCES = ("digits", "folder", "glyphs", "pair", "pydocs", "rendered_digits", "texts")


@dataclass(frozen=True)
class _Source:
    name: str
    params: type[Settings]
    check: Callable[[Any], None]
    open: Callable[[Any, Artifacts], Dataset]


def names() -> tuple[str, ...]:
    """Return the names of all datasets: our own sources, then torchvision's classes. Imports no torch."""
    return (*SOURCES, *signatures())


def summaries() -> dict[str, str]:
    """Return one line for each dataset. Imports no torch."""
    own = {name: _first_line(Path(__file__).parent / "sources" / f"{name}.py") for name in SOURCES}
    return own | {name: signature.summary for name, signature in signatures().items()}


def validate(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with the defaults filled in; opens nothing.

    Raises:
        UserError: The name or a parameter is unknown, or a value is wrong.
    """
    return _settings(_source(name), params).model_dump(mode="json")


def from_base(params: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return a dataset's parameters with absolute paths; relative ones start from ``base``."""

    def resolved(key: str, value: Any) -> Any:
        if key in ("path", "root") and isinstance(value, str) and value:
            return str((base / Path(value).expanduser()).resolve())
        return from_base(value, base) if key in ("source", "target", "params") and isinstance(value, dict) else value

    return {key: resolved(key, value) for key, value in params.items()}


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
    return source.open(settings, artifacts)


def _decode_once(
    name: str, module: Any, settings: Settings, artifacts: Artifacts, *, of: tuple[str, ...] = ()
) -> Dataset:
    """Open what a source file decodes; ``of`` says which of its datasets, where it has several."""
    label = _label(name, settings)
    content = module.signature(settings)
    key = digest([label, module.VERSION, settings.model_dump(mode="json"), content, decoded.VERSION], length=32)
    dataset = _made_once(label, key, lambda folder: module.decode(*of, settings, folder), artifacts)
    path = getattr(settings, "path", None)
    return _from(name if path is None else Path(path).resolve().as_posix(), dataset)


def _open_pair(settings: pair.Params, artifacts: Artifacts) -> Dataset:
    source, target = (open_dataset(side.name, side.params, artifacts) for side in (settings.source, settings.target))
    label = pair.label(source, target, settings)
    contents = [
        [side.info.name, side.info.fingerprint, side.info.origin, said.domain, said.classes]
        for side, said in ((source, settings.source), (target, settings.target))
    ]
    key = digest([label, pair.VERSION, contents, decoded.VERSION], length=32)
    dataset = _made_once(label, key, lambda folder: pair.join(source, target, settings, folder), artifacts)
    return _from(within(target.info.origin, settings.target.domain), dataset)


def _from(origin: str, dataset: Dataset) -> Dataset:
    """Return a dataset that says where it comes from."""
    return replace(dataset, info=replace(dataset.info, origin=origin))


def _check_sides(settings: pair.Params) -> None:
    for key in pair.Params.model_fields:
        side = getattr(settings, key)
        try:
            if side.name.lower() == PAIR:
                raise UserError("a pair of pairs", "a side is one dataset, or one domain of it")
            if key == "target" and side.classes:
                raise UserError("classes of the target keep their names", "give classes to the source")
            validate(side.name, side.params)
        except UserError as error:
            raise UserError(f"{error.message}, as {key!r}", error.hint) from None


def _made_once(label: str, key: str, make: Callable[[Path], decoded.Decoded], artifacts: Artifacts) -> Dataset:
    """Open a decoded dataset, making it where this machine has not done so yet."""
    folder = artifacts.get("datasets", key, lambda folder: decoded.save(make(folder), label, folder))
    try:
        return decoded.load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{label}: the decoded data in {folder} is damaged: {error}", "delete that folder; it is made again"
        ) from error


def _source(name: str) -> _Source:
    if name in SOURCES:
        if name == PAIR:
            return _Source(name, pair.Params, _check_sides, _open_pair)
        module = importlib.import_module(f"tlbench.data.sources.{name}")
        return _Source(name, module.Params, lambda _: None, partial(_decode_once, name, module))
    known = names()
    found = next((other for other in known if other.lower() == str(name).lower()), None)
    if found is None:
        raise UserError(f"unknown dataset {name!r}", nearest(name, known))
    if found in SOURCES:
        return _source(found)
    from tlbench.data.sources import torchvision as module

    opening = partial(_decode_once, found, module, of=(found,))
    return _Source(found, module.Params, partial(module.check, found), opening)


def _settings(source: _Source, params: dict[str, Any]) -> Settings:
    settings, problems = check(source.params, params)
    if settings is None:
        first = problems[0]
        raise UserError(f"dataset {source.name}: {first.what}", first.hint)
    source.check(settings)
    return settings


def _label(name: str, settings: Settings) -> str:
    """Return what people read: the name, the file's stem, and the parameters that differ from the defaults."""
    said = []
    for key, field in type(settings).model_fields.items():
        value = getattr(settings, key)
        if key == "path":
            said.append(Path(value).stem)
        elif key != "root" and value != field.get_default(call_default_factory=True):
            inner = value if isinstance(value, dict) else {key: value}
            said += [f"{k}={v if isinstance(v, str) else canonical(v)}" for k, v in inner.items()]
    return f"{name}({','.join(said)})" if said else name


def _first_line(file: Path) -> str:
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0].strip()
