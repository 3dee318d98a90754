"""Which code a result comes from: the mark by which a result is known to be stale.

A mark is ``FILE~REACH``. FILE hashes the bytes of a method's or protocol's file. REACH hashes the code that this file
reaches: all of its own definitions, and of the other files of the package those functions, classes and constants that
its imports lead to, one through the other. A result is stale when REACH is another one today. So it is stale when a
training loop that its method calls has changed, and not when another function was added to the file of that loop: what
is never reached cannot have changed the result. Comments, docstrings, formatting, and in which file a definition
stands, are no part of REACH either.

Imports are followed into the rooms that compute: ``training``, ``backbones``, ``data``, ``stats``, ``protocols``. They
are not followed into ``core`` and ``store``, which name things and keep them: whatever in them could change a result
changes the cells' ids. Nor is a network's own file reached through its name in a suite; ids hold its recipe. What is
reached may matter or not: a method that says ``x: Split`` is stale when the class ``Split`` changes in any way. Too
many stale results cost time; a stale result that looks fresh costs the reader's trust.

Pre-trained weights take hours, and every method of a table is to start from the same. They are named and marked by the
FILE of their method alone, and keep their name when shared code changes. Whoever changes a shared loop so that
pre-training comes out differently says so in the files of the methods that pre-train, as by a constant ``REVISION``.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

_BETWEEN, _AND = "~", "+"
_LENGTH = 16
_PACKAGE = __name__.partition(".")[0]
_HOME = Path(__file__).parents[2]
_ROOMS = ("training", "backbones", "data", "stats", "protocols", "methods")
_EVERYTHING = "*"


def mark(module: str, path: Path) -> str:
    """Return the mark of a module's code.

    Args:
        module: Dotted name.
        path: Its file.
    """
    return _hash(path.read_bytes()) + _BETWEEN + _hash("\n".join(sorted(reached(module, path))).encode())


def file_part(mark: str) -> str:
    """Return the hash of the file alone."""
    return mark.partition(_BETWEEN)[0]


def same_code(before: str, today: str) -> bool:
    """Say whether a result with one mark comes from code that today has another.

    Args:
        before: The result's mark, or several with ``+`` between; empty where none was kept, which counts as the same.
            A mark that is no more than FILE is compared as such.
        today: Today's mark, or marks.
    """
    if before in ("", today):
        return True
    old, new = before.split(_AND), today.split(_AND)
    return len(old) == len(new) and all(
        mark.rpartition(_BETWEEN)[2] in now.split(_BETWEEN) for mark, now in zip(old, new, strict=True)
    )


def reached(module: str, path: Path) -> set[str]:
    """Return every definition that a module's code leads to, as text without comments, docstrings and line numbers.

    Args:
        module: Dotted name.
        path: Its file.
    """
    texts: set[str] = set()
    files: dict[str, _File | None] = {module: _read(path, path.stat().st_mtime_ns, module)}
    seen = {(module, _EVERYTHING)}
    todo = [(module, _EVERYTHING)]
    while todo:
        name, symbol = todo.pop()
        if name not in files:
            files[name] = _find(name, module, path)
        file = files[name]
        if file is None:
            continue
        statements = file.wanted(symbol)
        texts.update(text for statement in statements for text in statement.texts)
        passed_on = file.imports[symbol].leads_to if symbol in file.imports else ()
        new = {*passed_on, *(at for statement in statements for at in statement.leads_to)} - seen
        seen |= new
        todo += new
    return texts


@dataclass(frozen=True)
class _Import:
    """What an import brings: a symbol of a module, or the module itself."""

    module: str
    symbol: str = ""

    def text(self, name: str) -> str:
        """Return what the import itself says, unless that is no more than where a definition of the name stands."""
        if self.module.split(".")[0] == _PACKAGE and self.symbol in ("", name):
            return ""
        return f"{name} is {self.module} {self.symbol}"

    @property
    def leads_to(self) -> list[tuple[str, str]]:
        """Where it may be defined, as (module, symbol)."""
        if not self.symbol:
            return [(self.module, _EVERYTHING)]
        return [(self.module, self.symbol), (f"{self.module}.{self.symbol}", _EVERYTHING)]


class _Statement:
    """A statement at the top of a module.

    Args:
        node: The statement.
        file: The module.
    """

    def __init__(self, node: ast.stmt, file: _File) -> None:
        self._node = node
        self._file = file

    @cached_property
    def texts(self) -> list[str]:
        """What it says, and what the imports that it uses say."""
        imports = self._file.imports
        return [_text(self._node), *(imports[name].text(name) for name in self._names if name in imports)]

    @cached_property
    def leads_to(self) -> set[tuple[str, str]]:
        """Where the names that it uses may be defined, as (module, symbol)."""
        found = set()
        for name in self._names:
            if name in self._file.defined:
                found.add((self._file.name, name))
            elif name in self._file.imports:
                found.update(self._file.imports[name].leads_to)
        return found

    @cached_property
    def _names(self) -> set[str]:
        return {node.id for node in ast.walk(self._node) if isinstance(node, ast.Name)}


@dataclass(frozen=True)
class _File:
    """A parsed module.

    Attributes:
        name: Dotted name.
        defined: Statements by the names that they define.
        loose: Statements that define nothing, and so run whatever is wanted of the module.
        imports: What imports anywhere in the file bring, by the name they give it.
    """

    name: str
    defined: dict[str, list[_Statement]] = field(default_factory=dict)
    loose: list[_Statement] = field(default_factory=list)
    imports: dict[str, _Import] = field(default_factory=dict)

    def wanted(self, symbol: str) -> list[_Statement]:
        """Return the statements that whoever imports a symbol runs."""
        if symbol == _EVERYTHING:
            return [*self.loose, *(each for found in self.defined.values() for each in found)]
        return [*self.loose, *self.defined.get(symbol, [])]


def _find(wanted: str, module: str, path: Path) -> _File | None:
    """Return a module if it belongs to a room that computes, or to the package of the file where all began."""
    parts = wanted.split(".")
    own = module.split(".")
    if parts[0] == _PACKAGE:
        if len(parts) < 2 or parts[1] not in _ROOMS:
            return None
        root = _HOME
    elif parts[0] == own[0]:
        root = path.parents[len(own) - (path.name != "__init__.py")]
    else:
        return None
    place = root.joinpath(*parts)
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return _read(file, file.stat().st_mtime_ns, wanted)
    return None


@cache
def _read(path: Path, changed: int, name: str) -> _File:
    """Parse a file; ``changed`` is when it was, so that one that changes is read again."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    file = _File(name)
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in _statements(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            file.imports.update(_brought(node, package))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or _says_nothing(node):
            continue
        statement, names = _Statement(node, file), set(_defined(node))
        for defined in names:
            file.defined.setdefault(defined, []).append(statement)
        if not names and not _only_imports(node):
            file.loose.append(statement)
    return file


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements in a node, at any depth."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, part, ()):
            yield inner
            yield from _statements(inner)


def _brought(node: ast.Import | ast.ImportFrom, package: list[str]) -> Iterator[tuple[str, _Import]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, _Import(whole)
        return
    above = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        yield alias.asname or alias.name, _Import(module, alias.name)


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _only_imports(statement: ast.stmt) -> bool:
    inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
    return bool(inner) and all(isinstance(node, ast.Import | ast.ImportFrom) for node in inner)


def _says_nothing(statement: Any) -> bool:
    """Say whether a statement is a text that stands by itself, as docstrings do."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _text(node: Any) -> str:
    """Return one text for one meaning, under any version of Python: what is absent or empty is left out."""
    if isinstance(node, list):
        return f"[{','.join(_text(each) for each in node if not _says_nothing(each))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, getattr(node, name, None)) for name in node._fields if name not in ("ctx", "kind", "type_comment"))
    return f"{type(node).__name__}({','.join(_told(fields))})"


def _told(fields: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for name, value in fields:
        if value is not None and value != []:
            yield f"{name}={_text(value)}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_LENGTH]
