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
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, get_args, overload

from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import Modality, Shots
from tlbench.plugins.code_mark import code_mark
from tlbench.plugins.constants import read_constants
from tlbench.plugins.discovery import find
from tlbench.plugins.module_text import read_module_text

Kind = Literal["methods", "protocols"]
_PURE = ("tlbench.core", "pydantic", "__future__")


class MethodConstants(Settings):
    """The constants that the file of a method may set."""

    PROTOCOLS: tuple[str, ...] = Field(description="protocols that the method takes part in")
    MODALITIES: tuple[Modality, ...] = Field(get_args(Modality), description="what it reads")
    VERSION: int = Field(1, ge=1, description="raised when the same parameters come to mean something else")
    BACKBONE: bool = Field(
        True, description="whether it reads inputs through a backbone; else it reads texts as they are"
    )
    FROZEN_BACKBONE: bool = Field(False, description="whether it leaves the backbone as it is")
    SEGMENTABLE: tuple[str, ...] = Field((), description="protocols in which its training may be cut into segments")
    TEACHER: bool = Field(False, description="whether it learns from a teacher that the suite names")
    ORACLE: bool = Field(False, description="whether it sees labels that the protocol keeps from all others")
    READS_LABELS: bool = Field(True, description="whether its pre-training reads the labels of the corpus")
    OPTIMISES: tuple[str, ...] = Field((), description="validators of adaptation that its training loss maximises")
    QUICK: dict[str, Any] = Field({}, description="parameters with which contract tests run it in about a second")


class ProtocolConstants(Settings):
    """The constants that the file of a protocol may set."""

    VERSION: int = Field(ge=1, description="raised when its draws or scores change meaning")
    PAIRS: bool = Field(False, description="whether its datasets have a source and a target")
    FOLDS: bool = Field(False, description="whether a search may validate in folds of the label budget (ctx.fold)")
    LEAST_SHOTS: int = Field(1, ge=0, description="smallest number of shots")
    USUAL_SHOTS: tuple[Shots, ...] | None = Field(None, description="shots of a grid that names none")
    QUICK: dict[str, Any] = Field({}, description="options with which contract tests run it in about a second")


C = TypeVar("C", MethodConstants, ProtocolConstants)


@dataclass(frozen=True)
class Declaration(Generic[C]):
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
        constants: The public upper-case constants of the file.
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
    constants: C
    settings: type[Settings]
    skip: Callable[..., str | None] | None
    read_code_mark: Callable[[], str]

    @property
    def version(self) -> int:
        """The constant ``VERSION``, raised when the same settings come to mean something else; part of ids."""
        return int(self.constants.VERSION)

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


class Declare(Protocol):
    """Reads the declaration of a method or protocol by kind and name."""

    @overload
    def __call__(self, kind: Literal["methods"], name: str) -> Declaration[MethodConstants]: ...
    @overload
    def __call__(self, kind: Literal["protocols"], name: str) -> Declaration[ProtocolConstants]: ...


@overload
def declaration(kind: Literal["methods"], name: str) -> Declaration[MethodConstants]: ...


@overload
def declaration(kind: Literal["protocols"], name: str) -> Declaration[ProtocolConstants]: ...


def declaration(kind: Kind, name: str) -> Declaration[MethodConstants] | Declaration[ProtocolConstants]:
    """Read one declaration.

    Raises:
        UserError: The name is unknown; the declaration needs more than the standard library, pydantic and core; or a
            constant is unknown, missing or of the wrong type.
    """
    return _read(name, kind, MethodConstants) if kind == "methods" else _read(name, kind, ProtocolConstants)


@cache
def _read(name: str, kind: Kind, declared: type[C]) -> Declaration[C]:
    plugins = find(kind)
    if name not in plugins:
        raise UserError(f"unknown {kind[:-1]} {name!r}", nearest(name, plugins))
    module, path = plugins[name].module, plugins[name].path
    text = read_module_text(path)
    namespace = _execute_declaration(ast.parse(path.read_bytes(), filename=str(path)), module, path)
    constants = read_constants(declared, text, namespace)
    method = constants if isinstance(constants, MethodConstants) else None
    return Declaration(
        name=name,
        module=module,
        path=path,
        summary=text.summary,
        paper=_paper(text.docstring),
        protocols=() if method is None else method.PROTOCOLS,
        modalities=get_args(Modality) if method is None else method.MODALITIES,
        roles=tuple(role for role in ("fit", "pretrain") if role in text.definitions),
        constants=constants,
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
