"""Edits of a copy of a package that change how its code is written, and not what it does."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import tlbench
from tlbench.plugins.code_mark import INFRASTRUCTURE


def copy_package(folder: Path) -> Path:
    """Copy the package ``tlbench`` into a folder and return the copy."""
    return shutil.copytree(
        Path(tlbench.__file__).parent, folder / "tlbench", ignore=shutil.ignore_patterns("__pycache__")
    )


def files(package: Path) -> Iterator[Path]:
    """Yield the source files of a package, without those of whole rooms that are infrastructure."""
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in INFRASTRUCTURE:
            yield path


def rename(package: Path, old: str, new: str) -> int:
    """Rename a definition everywhere and return in how many files; it must have its name to itself."""
    changed = 0
    for path in files(package):
        text = path.read_text()
        assert not re.search(rf"\b{new}\b", text)
        renamed = re.sub(rf"\b{old}\b", new, text)
        changed += renamed != text
        path.write_text(renamed)
    return changed


def rewrite(package: Path, change: Callable[[ast.Module, Path], ast.Module]) -> None:
    """Write every file anew from its syntax tree, without comments, as a function changes it."""
    for path in files(package):
        tree = change(ast.parse(path.read_bytes()), path)
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def without_docstrings(tree: ast.Module, path: Path) -> ast.Module:
    """Take all docstrings, and other texts that stand by themselves, out of a file."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
            node.body = kept or ([] if isinstance(node, ast.Module) else [ast.Pass()])  # type: ignore[attr-defined]
    return tree


def as_aliases(tree: ast.Module, path: Path) -> ast.Module:
    """Import every name of the package under another one: ``from tlbench.a import f as f_of_a``."""
    return _imported_otherwise(tree, lambda module, name: (f"{name}_of_it", None))


def as_attributes(tree: ast.Module, path: Path) -> ast.Module:
    """Import modules in place of their names: ``import tlbench.a as module_a``, ``module_a.f``."""
    return _imported_otherwise(tree, lambda module, name: (f"module_{module.replace('.', '_')}", name))


def _imported_otherwise(tree: ast.Module, naming: Callable[[str, str], tuple[str, str | None]]) -> ast.Module:
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    inner = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import) for alias in node.names]
    names: dict[str, tuple[str, str | None]] = {}
    body: list[ast.stmt] = []
    for statement in tree.body:
        ours = isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("tlbench.")
        if not ours or not isinstance(statement, ast.ImportFrom) or not statement.module:
            body.append(statement)
            continue
        for alias in statement.names:
            known = alias.asname or alias.name
            alone = sum(each.name == alias.name or each.asname == known for each in inner) == 1
            if known in bound or not alone:
                body.append(ast.ImportFrom(statement.module, [alias], 0))
                continue
            other, attribute = names[known] = naming(statement.module, alias.name)
            if attribute is None:
                body.append(ast.ImportFrom(statement.module, [ast.alias(alias.name, other)], 0))
            else:
                body.append(ast.Import([ast.alias(statement.module, other)]))
    tree.body = body
    return _Renamed(names).visit(tree)  # type: ignore[no-any-return]


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, tuple[str, str | None]]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._names:
            return node
        other, attribute = self._names[node.id]
        name = ast.Name(other, node.ctx)
        return name if attribute is None else ast.Attribute(name, attribute, node.ctx)


def move(package: Path, name: str, old: str, new: str) -> None:
    """Move a definition into a file of its own and let everyone import it from there.

    Args:
        package: The package.
        name: The definition.
        old: Dotted name of the module in which it stands.
        new: Dotted name of the module to make.
    """
    source = package.parent / f"{old.replace('.', '/')}.py"
    tree = ast.parse(source.read_bytes())
    (moved,) = (each for each in tree.body if getattr(each, "name", None) == name)
    imports = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom | ast.If)]
    others = {
        node.id
        for each in tree.body
        if each is not moved and not isinstance(each, ast.Import | ast.ImportFrom | ast.If)
        for node in ast.walk(each)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    } | {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef) and each is not moved}
    needed = sorted({node.id for node in ast.walk(moved) if isinstance(node, ast.Name)} & others)
    back = [ast.ImportFrom(old, [ast.alias(each) for each in needed], 0)] if needed else []
    target = package.parent / f"{new.replace('.', '/')}.py"
    target.write_text(ast.unparse(ast.fix_missing_locations(ast.Module([*imports, *back, moved], []))))
    tree.body = [each for each in tree.body if each is not moved]
    if any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree)):
        at = next(n for n, each in enumerate(tree.body) if isinstance(each, ast.ImportFrom)) + 1
        tree.body.insert(at, ast.ImportFrom(new, [ast.alias(name)], 0))
    source.write_text(ast.unparse(ast.fix_missing_locations(tree)))

    def adapted(tree: ast.Module, path: Path) -> ast.Module:
        for node in ast.walk(tree):
            for field in ("body", "orelse"):
                statements = getattr(node, field, None)
                if isinstance(statements, list):
                    setattr(node, field, [part for each in statements for part in _split(each, name, old, new)])
        return tree

    rewrite(package, adapted)


def _split(statement: ast.stmt, name: str, old: str, new: str) -> list[ast.stmt]:
    if not isinstance(statement, ast.ImportFrom) or statement.module != old:
        return [statement]
    kept = [alias for alias in statement.names if alias.name != name]
    moved = [alias for alias in statement.names if alias.name == name]
    parts: list[ast.stmt] = [ast.ImportFrom(old, kept, 0)] if kept else []
    return [*parts, *([ast.ImportFrom(new, moved, 0)] if moved else [])]
