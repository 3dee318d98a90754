"""Finds the backbone families and imports their modules, which import no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast

from tlbench.backbones.family import Family, FamilyConstants, NamedFamily, Publisher
from tlbench.core.errors import UserError, nearest
from tlbench.plugins.constants import read_constants
from tlbench.plugins.discovery import Plugin, find
from tlbench.plugins.module_text import read_module_text

_KINDS_OF_WEIGHTS = ("random", "file", "pretrain")  # a suite names these where it may name a family that publishes


@dataclass(frozen=True)
class LoadedFamily:
    """A backbone family that is ready to use.

    Attributes:
        name: Its name: that of the file or entry point.
        summary: First line of the file's docstring.
        constants: What the file declares.
        code: Its module.
    """

    name: str
    summary: str
    constants: FamilyConstants
    code: Family

    @property
    def prefix(self) -> str:
        """What stands before the names of its networks; empty where it lists them."""
        return "" if isinstance(self.code, NamedFamily) else f"{self.name}:"


@cache
def families() -> dict[str, LoadedFamily]:
    """Return all families by name.

    Raises:
        UserError: A file is not what the file of a family must be.
    """
    plugins = sorted(find("backbones").values(), key=lambda plugin: not plugin.shipped)
    return {plugin.name: _load(plugin) for plugin in plugins}


@cache
def family_of_name() -> dict[str, str]:
    """Return the family of each listed network by name; of several families that list a name, the first has it."""
    family_of: dict[str, str] = {}
    for family in families().values():
        for name in family.code.summaries() if isinstance(family.code, NamedFamily) else ():
            family_of.setdefault(name, family.name)
    return family_of


def publishers() -> tuple[str, ...]:
    """Return the names of the families whose library publishes weights."""
    return tuple(sorted(name for name, family in families().items() if isinstance(family.code, Publisher)))


def _load(plugin: Plugin) -> LoadedFamily:
    text = read_module_text(plugin.path)
    if plugin.name in _KINDS_OF_WEIGHTS:
        raise UserError(
            f"{plugin.path}: no backbone family can be called {plugin.name!r}, which is a kind of weights",
            "give its entry point or file another name",
        )
    try:
        module = plugin.load()
    except ImportError as error:
        raise UserError(
            f"{plugin.path}: the backbone family {plugin.name!r} cannot be imported: {error}",
            "install what it needs, or uninstall the distribution that offers it",
        ) from error
    constants = read_constants(FamilyConstants, text, vars(module))
    for needed in ("describe", "construct"):
        if not hasattr(module, needed):
            close = nearest(needed, text.definitions)
            hint = close if close.startswith("did you mean") else "tlbench/backbones/family.py says what it does"
            raise UserError(f"{plugin.path}: the file of a backbone family defines {needed!r}", hint)
    return LoadedFamily(plugin.name, text.summary, constants, cast("Family", module))
