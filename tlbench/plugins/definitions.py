"""The top-level definitions of source files, and what an imported name refers to. Nothing is imported or executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import EllipsisType

from tlbench.plugins.scopes import FUNCTIONS, File, Import, bindings, brought

INFRASTRUCTURE = "(infrastructure)"
"""Stands for every name of the modules at which the walk stops."""


@dataclass(frozen=True)
class Definition:
    """A name that a module defines."""

    module: Module
    name: str


@dataclass(eq=False)
class Module:
    """A parsed source file.

    Attributes:
        name: Dotted name.
        file: What its scopes have in common.
        statements: Its top-level statements, without imports and docstrings; those under ``if TYPE_CHECKING`` stand
            among them.
        bound: For each statement the names that it binds, with their positions among these.
        defined: The positions of the statements that bind a name, in order.
        imports: What imports bind.
        loose: Positions of the statements that do more than define names, and so run for whoever imports the module.
        tree: The syntax tree.
    """

    name: str
    file: File
    tree: ast.Module
    statements: list[ast.stmt] = field(default_factory=list)
    bound: list[dict[str, int]] = field(default_factory=list)
    defined: dict[str, list[int]] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    loose: list[int] = field(default_factory=list)

    def add(self, statement: ast.stmt) -> None:
        """Add a top-level statement."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self.imports.update(brought(statement, self.file.package))
            return
        names = list(bindings([statement], self.file).names)
        for name in names:
            self.defined.setdefault(name, []).append(len(self.statements))
        if not _only_defines(statement):
            self.loose.append(len(self.statements))
        self.statements.append(statement)
        self.bound.append({name: position for position, name in enumerate(names)})


Target = Definition | Module | str
"""What a name refers to; of other libraries' code the dotted name, of infrastructure :data:`INFRASTRUCTURE`."""


class Sources:
    """The source files of some packages, each parsed once.

    Args:
        folders: The folder (or, of a package that is a single file, the file) of each top-level package.
        outside: Dotted names of modules and packages that count as infrastructure.
    """

    def __init__(self, folders: Mapping[str, Path], outside: frozenset[str] = frozenset()) -> None:
        self._folders = folders
        self._outside = outside
        self._modules: dict[str, Module | str] = {}

    def module(self, name: str) -> Module | str:
        """Return a module by its dotted name; that name where the module is external."""
        if name not in self._modules:
            self._modules[name] = self._find(name)
        return self._modules[name]

    def target(self, imported: Import) -> Target:
        """Return what an import binds its name to."""
        module = self.module(imported.module)
        return self.attribute(module, imported.symbol) if imported.symbol else module

    def attribute(self, owner: Target, name: str) -> Target:
        """Return what an attribute of a module refers to, re-exports followed to where the name is defined."""
        if isinstance(owner, str):
            return owner if owner == INFRASTRUCTURE else f"{owner}.{name}"
        if isinstance(owner, Definition):
            raise TypeError("attributes of definitions are no definitions")
        visited: set[tuple[str, str]] = set()
        while name not in owner.defined:
            if (owner.name, name) in visited or name not in owner.imports:
                inner = self.module(f"{owner.name}.{name}")
                return f"{owner.name}.{name}" if isinstance(inner, str) else inner
            visited.add((owner.name, name))
            imported = owner.imports[name]
            through = self.module(imported.module)
            if not imported.symbol or not isinstance(through, Module):
                return self.target(imported)
            owner, name = through, imported.symbol
        return Definition(owner, name)

    def _find(self, name: str) -> Module | str:
        top, *inner = name.split(".")
        if top not in self._folders:
            return name
        parts = [top, *inner]
        if any(".".join(parts[:length]) in self._outside for length in range(2, len(parts) + 1)):
            return INFRASTRUCTURE
        place = self._folders[top].joinpath(*inner)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return read(file, file.stat().st_mtime_ns, name)
        return Module(name, File(parts, walrus=False), ast.Module([], [])) if place.is_dir() else name


@cache
def read(path: Path, changed: int, name: str) -> Module:
    """Parse a file.

    Args:
        path: The file.
        changed: When it last changed, so that a changed file is read again.
        name: Dotted name of the module.
    """
    source = path.read_bytes()
    tree = ast.parse(source, filename=str(path))
    parts = name.split(".")
    package = parts if path.name == "__init__.py" else parts[:-1]
    module = Module(name, File(package, walrus=b":=" in source), tree)
    for statement in _top_level(tree.body):
        module.add(statement)
    return module


def says_nothing(node: ast.AST) -> bool:
    """Say whether a statement is ``pass``, ``...``, or a text that stands by itself, as docstrings do."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str | EllipsisType)
    return isinstance(node, ast.Pass)


def _top_level(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in statements:
        if isinstance(statement, ast.If):
            test = ast.unparse(statement.test)
            if test in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                yield from _top_level(statement.body)
                yield from _top_level(statement.orelse)
                continue
            if test == "__name__ == '__main__'":
                continue
        if not says_nothing(statement) and not _only_annotates(statement):
            yield statement


def _only_annotates(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) and statement.value is None


def _only_defines(statement: ast.stmt) -> bool:
    """Say whether a statement does no more than give names to values."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Pass)):
        return True
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return all(isinstance(target, ast.Name | ast.Tuple | ast.List) for target in targets)
    if isinstance(statement, ast.If | ast.Try | ast.With):
        inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt | ast.ExceptHandler)]
        return all(
            says_nothing(node) or all(map(_only_defines, node.body))
            if isinstance(node, ast.ExceptHandler)
            else _only_defines(node)
            for node in inner
        )
    return hasattr(ast, "TypeAlias") and isinstance(statement, ast.TypeAlias)
