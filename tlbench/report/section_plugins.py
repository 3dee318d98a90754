"""Finds the sections of the page and checks what they declare."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from tlbench.core.errors import UserError, nearest
from tlbench.plugins.discovery import Plugin, find
from tlbench.report.report_data import Report
from tlbench.report.section import Content, Section

_DECLARATIONS = ("TITLE", "ORDER", "TABLES", "FIGURES")
_ID = re.compile(r"[a-z][a-z0-9_-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w-]*")


@dataclass(frozen=True)
class LoadedSection:
    """A section whose declarations have been checked.

    Attributes:
        name: Its id on the page.
        title: Heading.
        order: Place on the page.
        tables: Names of the tables that it may have.
        figures: Names of the figures that it may have.
        build: Returns its content for a report.
        template: The template beside its module; None where the default template shows it.
        path: Its source file.
    """

    name: str
    title: str
    order: int
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    build: Callable[[Report], Content]
    template: Path | None
    path: Path


def section_plugins() -> Mapping[str, Plugin]:
    """Return all sections by name, none of which has been imported."""
    return find("report_sections")


def load_section(plugin: Plugin) -> LoadedSection:
    """Import a section and check its declarations.

    Raises:
        UserError: A declaration is missing, unknown or of another type; the message names the file.
        Exception: Whatever the module raises while it is imported.
    """
    if not _ID.fullmatch(plugin.name):
        raise UserError(
            f"{plugin.path}: the section's name {plugin.name!r} cannot be an id on the page",
            "use lower-case letters, digits, dashes and underscores, and begin with a letter",
        )
    module = plugin.load()
    declared = _declarations(module, plugin.path)
    template = plugin.path.with_suffix(".html.j2")
    return LoadedSection(
        name=plugin.name,
        title=declared.TITLE,
        order=declared.ORDER,
        tables=declared.TABLES,
        figures=declared.FIGURES,
        build=declared.build,
        template=template if template.is_file() else None,
        path=plugin.path,
    )


def refuse_shared_names(sections: Mapping[str, LoadedSection], new: LoadedSection) -> None:
    """Refuse a section that declares a table or a figure of another section: they would overwrite each other's files.

    Args:
        sections: The sections before it on the page.
        new: The section.

    Raises:
        UserError: See above.
    """
    for kind, own in (("table", new.tables), ("figure", new.figures)):
        for other in sections.values():
            shared = set(own) & set(other.tables if kind == "table" else other.figures)
            if shared:
                raise UserError(
                    f"{new.path}: the {kind} {min(shared)!r} belongs to the section {other.name!r} ({other.path})",
                    "every table and every figure needs a name of its own",
                )


def _declarations(module: ModuleType, path: Path) -> Section:
    for name, line in _constants(path):
        if name not in _DECLARATIONS:
            hint = nearest(name, _DECLARATIONS)
            raise UserError(
                f"{path}:{line}: a section does not declare {name}",
                f"{hint}; constants of its own begin with an underscore" if hint else "",
            )
    for name in (*_DECLARATIONS, "build"):
        if not hasattr(module, name):
            raise UserError(f"{path}: a section declares {name}, which is missing here", _meaning(name))
    _require(isinstance(module.TITLE, str) and bool(module.TITLE.strip()), module, "TITLE", path)
    _require(isinstance(module.ORDER, int) and not isinstance(module.ORDER, bool), module, "ORDER", path)
    for name in ("TABLES", "FIGURES"):
        _require(_are_file_names(getattr(module, name)), module, name, path)
    _require(callable(module.build) and _takes_one(module.build), module, "build", path)
    return cast("Section", module)


def _constants(path: Path) -> list[tuple[str, int]]:
    """Return the public upper-case names that a file assigns at its top level, with their lines."""
    names = []
    for node in ast.parse(path.read_bytes(), filename=str(path)).body:
        if isinstance(node, ast.Assign):
            names += [(each.id, node.lineno) for each in node.targets if isinstance(each, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append((node.target.id, node.lineno))
    return [(name, line) for name, line in names if name.isupper() and not name.startswith("_")]


def _meaning(name: str) -> str:
    return {
        "TITLE": "TITLE is the heading, a text",
        "ORDER": "ORDER is the place on the page, a whole number",
        "TABLES": "TABLES lists the names of its tables, a tuple of texts; () where it has none",
        "FIGURES": "FIGURES lists the names of its figures, a tuple of texts; () where it has none",
        "build": "build is a function that takes the report and returns tlbench.report.section.Content",
    }[name]


def _require(is_right: bool, module: ModuleType, name: str, path: Path) -> None:
    if not is_right:
        value = getattr(module, name)
        shown = f"{name} = {value!r}" if name != "build" else f"{name}{_signature(value)}"
        raise UserError(f"{path}: {shown} is not what a section declares", _meaning(name))


def _are_file_names(value: object) -> bool:
    if not isinstance(value, tuple) or len(set(value)) < len(value):
        return False
    return all(isinstance(each, str) and _FILE_NAME.fullmatch(each) for each in value)


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        return False
    return True


def _signature(function: object) -> str:
    return str(inspect.signature(function)) if callable(function) else f" = {function!r}"
