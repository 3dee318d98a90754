"""What definitions reach, as CPython's own compiler sees it: independent of the scoping rules of the code mark."""

from __future__ import annotations
import __future__

import ast
import dis
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType

Name = tuple[str, str]
"""A module and a name that it defines."""


class Reach:
    """What the definitions of a package reach, within it, by the bytecode of each top-level statement.

    Args:
        folder: The package.
        outside: Dotted names, within the package, of the modules that are not followed.
    """

    def __init__(self, folder: Path, outside: Iterable[str]) -> None:
        self._folder = folder
        self._outside = tuple(f"{folder.name}.{each}." for each in outside)
        self._package = folder.name

    def of(self, roots: list[Name]) -> set[Name]:
        """Return all names that some names lead to, themselves included."""
        found: set[Name] = set()
        todo = [name for root in roots for name in self._defined(*root)]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += [each for reference in self._references(name) for each in self._defined(*reference)]
        return found

    def public_names(self, module: str) -> list[str]:
        """Return the public names that a module defines."""
        return [name for name in self._statements(module) if not name.startswith("_")]

    def _tree(self, module: str) -> ast.Module | None:
        return _parse(self._folder.parent, module)

    @cache  # noqa: B019
    def _statements(self, module: str) -> dict[str, list[ast.stmt]]:
        tree = self._tree(module)
        found: dict[str, list[ast.stmt]] = {}
        for statement in tree.body if tree is not None else ():
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
                continue
            for each in dis.get_instructions(_compiled(statement)):
                if each.opname == "STORE_NAME":
                    found.setdefault(str(each.argval), []).append(statement)
        return found

    @cache  # noqa: B019
    def _imports(self, module: str) -> dict[str, Name]:
        tree = self._tree(module)
        found: dict[str, Name] = {}
        for statement in ast.walk(tree) if tree is not None else ():
            if isinstance(statement, ast.ImportFrom) and statement.module:
                found |= {alias.asname or alias.name: (statement.module, alias.name) for alias in statement.names}
        return found

    def _defined(self, module: str, name: str) -> Iterator[Name]:
        """Yield where a name of a module is defined."""
        if module.split(".")[0] != self._package or f"{module}.".startswith(self._outside):
            return
        if name in self._statements(module):
            for other, statements in self._statements(module).items():
                if statements == self._statements(module)[name]:  # as those of TRAIN, VAL, TEST = 0, 1, 2
                    yield module, other
        elif name in self._imports(module) and self._imports(module)[name] != (module, name):
            yield from self._defined(*self._imports(module)[name])

    @cache  # noqa: B019
    def _references(self, name: Name) -> set[Name]:
        module, symbol = name
        found: set[Name] = set()
        for statement in self._statements(module)[symbol]:
            for path in _names(_compiled(statement)):
                first = path[0]
                if first in self._statements(module):
                    found.add((module, first))
                elif first in self._imports(module):
                    owner, inner = self._imports(module)[first]
                    found.add((owner, inner))
                    if len(path) > 1:  # the name of a module, and an attribute of it
                        found.add((f"{owner}.{inner}", path[1]))
        return found


@cache
def _parse(root: Path, module: str) -> ast.Module | None:
    place = root.joinpath(*module.split("."))
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return _WithoutMessages().visit(ast.parse(file.read_bytes()))
    return None


class _WithoutMessages(ast.NodeTransformer):
    """Takes the texts out of exceptions, and all that is said to the user."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            ours = isinstance(node.exc.func, ast.Name) and node.exc.func.id == "UserError"
            node.exc.args = [each for each in node.exc.args if not ours and not isinstance(each, ast.JoinedStr)]
        return node


def _compiled(statement: ast.stmt) -> CodeType:
    flags = __future__.annotations.compiler_flag
    return compile(ast.Module([statement], []), "package", "exec", flags=flags, dont_inherit=True)


def _names(code: CodeType, in_class: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield the names that code loads from its module, or imports, each with the attribute that follows it."""
    instructions = list(dis.get_instructions(code))
    for each, following in zip(instructions, [*instructions[1:], None], strict=True):
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            attribute = following is not None and following.opname in ("LOAD_ATTR", "LOAD_METHOD")
            yield (str(each.argval), *([str(following.argval)] if attribute and following is not None else []))
        elif each.opname == "IMPORT_FROM":
            yield (str(each.argval),)
        elif in_class and each.opname == "LOAD_CONST" and getattr(following, "argval", "") == "__annotations__":
            yield from ((word,) for word in re.findall(r"\w+", str(each.argval)))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, constant.co_firstlineno > 0 and "__module__" in constant.co_names)
