"""Reads what a plug-in's file says of itself without importing it: its summary, constants, functions and classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tlbench.core.errors import UserError


@dataclass(frozen=True)
class ModuleText:
    """What stands at the top level of a Python file.

    Attributes:
        path: The file.
        docstring: The docstring, empty where there is none.
        constants: Line of each public upper-case name that the file assigns (names that it imports are not among
            them).
        definitions: Line of each function and class that it defines.
    """

    path: Path
    docstring: str
    constants: dict[str, int]
    definitions: dict[str, int]

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.docstring.partition("\n")[0].strip()


@cache
def read_module_text(path: Path) -> ModuleText:
    """Parse a Python file, once a process.

    Raises:
        UserError: It cannot be read, or is not valid Python.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: is not valid Python: {error.msg}") from error
    return ModuleText(
        path=path,
        docstring=ast.get_docstring(tree) or "",
        constants={name: line for node in tree.body for name, line in _constants(node)},
        definitions={
            node.name: node.lineno
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        },
    )


def _constants(node: ast.stmt) -> Iterator[tuple[str, int]]:
    """Yield the public upper-case names that a statement assigns, and their lines."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return
    for target in targets:
        for inner in ast.walk(target):
            if isinstance(inner, ast.Name) and _is_constant(inner.id):
                yield inner.id, node.lineno


def _is_constant(name: str) -> bool:
    return name.isupper() and not name.startswith("_") and len(name) > 1  # one letter names a type variable
