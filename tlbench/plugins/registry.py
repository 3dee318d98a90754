"""Finds methods and protocols by file name, and reads their declarations without importing torch.

A method file is read twice. Its *declaration* (docstring, upper-case constants, ``Config`` or ``Options``, ``skip``)
is executed alone, which needs nothing but the standard library, pydantic and ``tlbench.core``; so ``check``, ``plan``
and the driver stay light. The whole module is imported only where something is trained.

Third parties add a method with an entry point of the group ``tlbench.methods``: name -> module.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import Modality
from tlbench.plugins.code_mark import code_mark
from tlbench.plugins.discovery import find

Kind = Literal["methods", "protocols"]
_PURE = ("tlbench.core", "pydantic", "__future__")


@dataclass(frozen=True)
class Declaration:
    """What a method or protocol file declares.

    Attributes:
        name: The file's name without ``.py``, or the entry point's name.
        module: Dotted module name, for :meth:`load`.
        path: The source file.
        summary: First line of the docstring.
        paper: The docstring's first ``arXiv:`` reference, or empty.
        protocols: Protocols the method fits into (the constant ``PROTOCOLS``).
        modalities: What the method reads (the constant ``MODALITIES``); everything where it says nothing.
        roles: ``fit`` and/or ``pretrain``: which of the two entry functions the file defines.
        constants: All upper-case constants of the file.
        settings: The file's ``Config`` (method) or ``Options`` (protocol).
        skip: The file's ``skip`` function, or None.
        read_code_mark: Computes :attr:`code_mark`.
    """

    name: str
    module: str
    path: Path
    summary: str
    paper: str
    protocols: tuple[str, ...]
    modalities: tuple[str, ...]
    roles: tuple[str, ...]
    constants: dict[str, Any]
    settings: type[Settings]
    skip: Callable[..., str | None] | None
    read_code_mark: Callable[[], str]

    @property
    def version(self) -> int:
        """The constant ``VERSION``, raised when the same settings come to mean something else; part of ids."""
        return int(self.constants.get("VERSION", 1))

    @cached_property
    def code_mark(self) -> str:
        """Mark of the code (:mod:`tlbench.plugins.code_mark`), by which results are known to be stale."""
        return self.read_code_mark()

    def load(self) -> ModuleType:
        """Import the whole module (torch and all)."""
        return importlib.import_module(self.module)


def names(kind: Kind) -> tuple[str, ...]:
    """Return the sorted names of all methods or protocols, without importing any of them."""
    return tuple(find(kind))


@cache
def declaration(kind: Kind, name: str) -> Declaration:
    """Read one declaration.

    Raises:
        UserError: The name is unknown, or the declaration needs more than the standard library, pydantic and core.
    """
    plugins = find(kind)
    if name not in plugins:
        raise UserError(f"unknown {kind[:-1]} {name!r}", nearest(name, plugins))
    module, path = plugins[name].module, plugins[name].path
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: is not valid Python: {error.msg}") from error
    namespace = _execute_declaration(tree, module, path)
    doc = ast.get_docstring(tree) or ""
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return Declaration(
        name=name,
        module=module,
        path=path,
        summary=doc.partition("\n")[0].strip(),
        paper=_paper(doc),
        protocols=tuple(namespace.get("PROTOCOLS", ())),
        modalities=tuple(namespace.get("MODALITIES", get_args(Modality))),
        roles=tuple(role for role in ("fit", "pretrain") if role in functions),
        constants={key: value for key, value in namespace.items() if key.isupper()},
        settings=cast("type[Settings]", namespace.get("Config") or namespace.get("Options") or Settings),
        skip=namespace.get("skip"),
        read_code_mark=partial(code_mark, module, path),
    )


def _paper(doc: str) -> str:
    _, mark, rest = doc.partition("arXiv:")
    return f"arXiv:{rest.split()[0].rstrip('.,;)')}" if mark and rest.split() else ""


def _execute_declaration(tree: ast.Module, module: str, path: Path) -> dict[str, Any]:
    kept = [node for node in tree.body if _declares(node)]
    shell = ModuleType(f"{module} (declaration)")
    shell.__file__ = str(path)
    sys.modules[shell.__name__] = shell  # pydantic resolves annotations through it
    try:
        exec(compile(ast.Module(kept, type_ignores=[]), str(path), "exec"), shell.__dict__)
    except (NameError, ImportError) as error:
        raise UserError(
            f"{path}: the declaration cannot be read alone: {error}",
            "constants, Config, Options and skip may use the standard library, pydantic and tlbench.core only",
        ) from error
    return shell.__dict__


def _declares(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return all(_is_pure(alias.name) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return _is_pure(node.module or "")
    if isinstance(node, ast.ClassDef):
        return node.name in ("Config", "Options")
    if isinstance(node, ast.FunctionDef):
        return node.name == "skip"
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id.isupper() for target in node.targets)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id.isupper()
    return False


def _is_pure(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names or any(
        module == pure or module.startswith(f"{pure}.") for pure in _PURE
    )
