"""Which datasets there are, whether their parameters are right, and how to open one. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical, digest
from tlbench.core.paths import check_utf8, expand
from tlbench.core.validation import check
from tlbench.data import decoded
from tlbench.data.dataset import Dataset, with_origin
from tlbench.data.source import HashedSource, JoinedSource, Member, NamingSource, Source, path_parameter
from tlbench.data.source_files import LoadedSource, declaring, load_source, names, summaries
from tlbench.store.artifacts import Artifacts

T = TypeVar("T")

__all__ = ["example_names", "joined", "names", "open_dataset", "paired", "summaries", "validate"]


def joined() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the sources that join other datasets, with the names of those parameters, and of the others."""
    sources = {name: load_source(name) for name in declaring("JOINS")}
    return {
        name: (joins, tuple(key for key in source.params.model_fields if key not in joins))
        for name, source in sources.items()
        if (joins := source.constants.JOINS)
    }


def paired() -> tuple[str, ...]:
    """Return the names of the sources that have a source domain and a target domain."""
    return tuple(name for name in declaring("PAIR") if load_source(name).constants.PAIR)


def validate(name: str, params: dict[str, Any], base: Path | None = None) -> dict[str, Any]:
    """Return parameters with the defaults filled in; opens nothing.

    Args:
        name: One of :func:`names`, in any case.
        params: As the suite gives them.
        base: The folder that relative paths start from; without one they stay relative.

    Raises:
        UserError: The name or a parameter is unknown, or a value is wrong.
    """
    source = load_source(name)
    values = _settings(source, params).model_dump(mode="json")
    return values if base is None else _with_absolute_paths(source, values, base)


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
    source = load_source(name)
    settings = _settings(source, validate(name, params, base or Path.cwd()))
    opener = _Opener(source.constants.VERSION, artifacts)
    if source.constants.JOINS:
        return cast("JoinedSource", source.code).open(settings, opener)
    dataset = _open_source(source, cast("Source", source.code), settings, opener)
    return with_origin(dataset, _data_path(settings) or source.name)


def example_names(name: str, params: dict[str, Any]) -> Sequence[str] | None:
    """Return the names of a dataset's examples, in their order; None where its source names none.

    Args:
        name: One of :func:`names`, in any case.
        params: Its parameters; paths are absolute.

    Raises:
        UserError: The data are wrong.
    """
    source = load_source(name)
    return source.code.example_names(_settings(source, params)) if isinstance(source.code, NamingSource) else None


def _open_source(source: LoadedSource, code: Source, settings: Settings, opener: _Opener) -> Dataset:
    """Open a dataset that is decoded here, by what its files hold.

    Raises:
        UserError: The data are wrong, or change while they are read.
    """
    own, mark = settings.model_dump(mode="json"), code.signature(settings)

    def unchanged(value: T) -> T:
        """Return what was read of the files, unless they changed meanwhile."""
        if code.signature(settings) != mark:
            raise UserError(f"{_label(source.name, settings)}: its files changed while they were read", "run it again")
        return value

    content = mark
    if isinstance(code, HashedSource):
        content = opener.content_once([source.name, own, mark], lambda: unchanged(code.content(settings)))
    return opener.decode_once(
        _label(source.name, settings), [own, content], lambda folder: unchanged(code.decode(settings, folder))
    )


@dataclass(frozen=True)
class _Opener:
    """Opens datasets for one source: members of a join, and what it decodes."""

    version: int
    artifacts: Artifacts

    def dataset(self, member: Member) -> Dataset:
        return open_dataset(member.name, member.params, self.artifacts)

    def content_once(self, mark: Sequence[Any], read: Callable[[], Any]) -> Any:
        """Return the content that belongs to a mark, read where this machine has not done so."""
        name = "content.json"
        folder = self.artifacts.get(
            "contents",
            digest([self.version, *mark], length=32),
            lambda folder: (folder / name).write_text(canonical(read()), encoding="utf-8"),
        )
        return json.loads((folder / name).read_text(encoding="utf-8"))

    def decode_once(self, label: str, content: Sequence[Any], decode: Callable[[Path], decoded.Decoded]) -> Dataset:
        key = digest([label, self.version, *content, decoded.VERSION], length=32)
        folder = self.artifacts.get("datasets", key, lambda folder: decoded.save(decode(folder), label, folder))
        try:
            return decoded.load(folder)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{label}: the decoded data in {folder} is damaged: {error}", "delete that folder; it is made again"
            ) from error


def _settings(source: LoadedSource, params: dict[str, Any]) -> Settings:
    settings, problems = check(source.params, params)
    if settings is None:
        first = problems[0]
        raise UserError(f"dataset {source.name}: {first.what}", first.hint)
    for key in source.constants.JOINS:
        _check_member(source, key, getattr(settings, key))
    source.check(settings)
    return settings


def _check_member(source: LoadedSource, key: str, member: Member) -> None:
    """Refuse a member that is unknown, has wrong parameters, or joins datasets itself."""
    try:
        other = load_source(member.name)
        if other.constants.JOINS:
            raise UserError(f"a {source.name} of {other.name}s", "a side is one dataset, or one domain of it")
        validate(member.name, member.params)
    except UserError as error:
        raise UserError(f"{error.message}, as {key!r}", error.hint) from None


def _with_absolute_paths(source: LoadedSource, values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return validated parameters with absolute paths, those of members included."""
    absolute = dict(values)
    for key, field in source.params.model_fields.items():
        value = values.get(key)
        if key in source.constants.JOINS:
            member = values[key]
            absolute[key] = member | {
                "params": _with_absolute_paths(load_source(member["name"]), member["params"], base)
            }
        elif (mark := path_parameter(field)) is not None and isinstance(value, str) and (value or mark.is_data):
            try:
                absolute[key] = str(check_utf8((base / expand(value, base)).resolve()))
            except UserError as error:
                raise UserError(f"{key}: {error.message}", error.hint) from error
    return absolute


def _data_path(settings: Settings) -> str:
    """Return the path of the user's data, empty where the parameters have none."""
    for key, field in type(settings).model_fields.items():
        mark = path_parameter(field)
        if mark is not None and mark.is_data:
            return Path(getattr(settings, key)).resolve().as_posix()
    return ""


def _label(name: str, settings: Settings) -> str:
    """Return what people read: the name, the stem of the data's path, and the parameters that are not the defaults."""
    shown = []
    for key, field in type(settings).model_fields.items():
        value, mark = getattr(settings, key), path_parameter(field)
        if mark is not None and mark.is_data:
            shown.append(Path(value).stem)
        elif mark is None and value != field.get_default(call_default_factory=True):
            inner = value if isinstance(value, dict) else {key: value}
            shown += [f"{k}={v if isinstance(v, str) else canonical(v)}" for k, v in inner.items()]
    return f"{name}({','.join(shown)})" if shown else name
