"""Reads docstrings out of Python source files: nothing is imported, nothing is run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection
from pathlib import Path

_TESTS = frozenset(("test", "tests", "idle_test"))
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources(root: Path, names: Collection[str]) -> list[str]:
    """Return the source files of modules and packages, as sorted paths from the root with slashes.

    Args:
        root: The folder that modules and packages lie in.
        names: Which of them; test suites, also those inside a package, are left out.
    """
    modules = [root / f"{name}.py" for name in names]
    inner = [file for name in names for file in (root / name).rglob("*.py")]
    files = [file.relative_to(root) for file in modules + inner if file.is_file()]
    return sorted(file.as_posix() for file in files if _TESTS.isdisjoint(file.with_suffix("").parts))


def docstrings(file: Path) -> list[str]:
    """Return the docstrings of a file's module, classes and functions, outer ones first, without indentation.

    Raises:
        SyntaxError, ValueError, RecursionError: It is not Python of this version, or not in the encoding it states.
        OSError: It cannot be read.
    """
    nodes: list[ast.AST] = [_parse(file)]
    for node in nodes:  # which grows by the statements inside each; expressions hold no docstring
        nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, _STATEMENTS)]
    return [text for node in nodes if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node))]


def assigned_texts(file: Path, name: str) -> list[str]:
    """Return the texts of the dictionary that a file assigns to a name at its top; none where it does not.

    Raises:
        SyntaxError, ValueError, RecursionError: It is not Python of this version, or assigns no dictionary of texts.
        OSError: It cannot be read.
    """
    for node in _parse(file).body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            texts = ast.literal_eval(node.value)
            if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
                raise ValueError(f"{name} is no dictionary of texts")
            return list(texts.values())
    return []


def _parse(file: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about escapes in texts
        return ast.parse(file.read_bytes())
