"""Finds the dataset sources, lists them without importing them, and loads the one that a suite names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, cast

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.data.source import JoinedSource, Member, NamedSource, SeveralSources, Source, SourceConstants
from tlbench.plugins.constants import read_constants
from tlbench.plugins.discovery import Plugin, find
from tlbench.plugins.module_text import read_module_text

_SEVERAL = "sources"  # the function by which a file says that it holds several


@dataclass(frozen=True)
class LoadedSource:
    """A dataset source that is ready to use.

    Attributes:
        name: The name in suites.
        constants: What its file declares.
        params: The class of its parameters.
        code: Decodes it, or joins it where ``constants.JOINS`` names members.
        check: Refuses parameters that do not go together; raises UserError.
    """

    name: str
    constants: SourceConstants
    params: type[Settings]
    code: Source | JoinedSource
    check: Callable[[Any], None]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all datasets: those that have a file, then those of which a file holds several."""
    return tuple(_entries())


def summaries() -> dict[str, str]:
    """Return one line about each dataset."""
    return {
        name: read_module_text(plugin.path).summary if source is None else source.summary
        for name, (plugin, source) in _entries().items()
    }


def load_source(name: str) -> LoadedSource:
    """Load a dataset source.

    Args:
        name: One of :func:`names`, in any case.

    Raises:
        UserError: There is none of that name, or its file is not what the file of a source must be.
    """
    known = names()
    exact = name if name in known else next((other for other in known if other.lower() == str(name).lower()), None)
    if exact is None:
        raise UserError(f"unknown dataset {name!r}", nearest(name, known))
    return _load(exact)


def declaring(constant: str) -> tuple[str, ...]:
    """Return the names of the datasets whose file sets a constant, whatever its value; imports none of them."""
    return tuple(
        name for name, (plugin, _) in _entries().items() if constant in read_module_text(plugin.path).constants
    )


@cache
def _entries() -> dict[str, tuple[Plugin, NamedSource | None]]:
    """Return the file of each dataset, and the source in it where it holds several; the first of equal names stays."""
    entries: dict[str, tuple[Plugin, NamedSource | None]] = {}
    for plugin in sorted(find("datasets").values(), key=lambda plugin: (not plugin.shipped, _holds_several(plugin))):
        if not _holds_several(plugin):
            entries.setdefault(plugin.name, (plugin, None))
            continue
        for name, source in cast("SeveralSources", _import(plugin)[0]).sources().items():
            entries.setdefault(name, (plugin, source))
    return entries


def _holds_several(plugin: Plugin) -> bool:
    return _SEVERAL in read_module_text(plugin.path).definitions


@cache
def _load(name: str) -> LoadedSource:
    plugin, code = _entries()[name]
    module, constants = _import(plugin)
    source: Any = module if code is None else code
    for needed in ("Params", "open") if constants.JOINS else ("Params", "signature", "decode"):
        if not hasattr(source, needed):
            what = "that joins datasets " if constants.JOINS else ""
            defined = read_module_text(plugin.path).definitions
            close = nearest(needed, defined)
            hint = close if close.startswith("did you mean") else "tlbench/data/source.py says what each does"
            raise UserError(f"{plugin.path}: the file of a dataset source {what}defines {needed!r}", hint)
    params = source.Params
    if not (isinstance(params, type) and issubclass(params, Settings)):
        raise UserError(f"{plugin.path}: Params is no settings class", "subclass tlbench.core.config.Settings")
    for key in constants.JOINS:
        field = params.model_fields.get(key)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, Member)):
            raise UserError(
                f"{plugin.path}: JOINS names {key!r}, which is no parameter of type Member",
                nearest(key, params.model_fields),
            )
    return LoadedSource(name, constants, params, source, getattr(source, "check", _accept))


def _accept(params: Any) -> None:
    """Accept all parameters that their types accept."""


@cache
def _import(plugin: Plugin) -> tuple[ModuleType, SourceConstants]:
    """Import a file of sources and read its constants.

    Raises:
        UserError: It cannot be imported, or sets a constant that is unknown or of the wrong type.
    """
    text = read_module_text(plugin.path)
    try:
        module = plugin.load()
    except ImportError as error:
        raise UserError(
            f"{plugin.path}: the dataset source {plugin.name!r} cannot be imported: {error}",
            "install what it needs, or uninstall the distribution that offers it",
        ) from error
    return module, read_constants(SourceConstants, text, vars(module))
