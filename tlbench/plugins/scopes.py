"""Python's rules of scope: which names a function, a class or a comprehension binds itself."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_BINDING = (ast.Store, ast.Del)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Import:
    """What an import binds a name to: a symbol of a module, or the module itself where ``symbol`` is empty."""

    module: str
    symbol: str = ""


@dataclass
class Bindings:
    """The names that some statements bind in their own scope.

    Attributes:
        names: In order of first appearance in the syntax tree; imported ones included.
        imports: Names that imports bind, and nothing else, with what they are bound to.
        module_names: Names declared ``global``.
        outer_names: Names declared ``nonlocal``.
    """

    names: dict[str, None] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    module_names: set[str] = field(default_factory=set)
    outer_names: set[str] = field(default_factory=set)


@dataclass
class Scope:
    """The scope of a function, a class or a comprehension; that of the module is none.

    Attributes:
        parent: The scope around it; None for the module's.
        bindings: What it binds. Of a class, what the statements so far have bound.
        is_class: Whether its names are invisible to the functions within.
    """

    parent: Scope | None
    bindings: Bindings
    is_class: bool = False

    def find(self, name: str) -> Scope | None:
        """Return the scope that binds a name used in this one; None where that is the module, or nothing."""
        scope: Scope | None = self
        while scope is not None:
            if not scope.is_class or scope is self:
                if name in scope.bindings.module_names:
                    return None
                if name in scope.bindings.names:
                    return scope
            scope = scope.parent
        return None


@dataclass(frozen=True)
class File:
    """What the scopes of a file have in common.

    Attributes:
        package: The package that it belongs to, in parts, from which relative imports start.
        walrus: Whether names may be bound within expressions, by ``:=``.
    """

    package: list[str]
    walrus: bool


def bindings(statements: Iterable[ast.AST], file: File) -> Bindings:
    """Return what statements bind in the scope in which they stand.

    Args:
        statements: The body of a function, a class or a module, or a part of it.
        file: The file.
    """
    bound = Bindings()
    several: set[str] = set()
    stack = list(statements)[::-1]
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is ast.Name:
            if type(node.ctx) is not ast.Load:  # type: ignore[attr-defined]
                _bind(bound, several, node.id)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name, imported in brought(node, file.package):
                _bind(bound, several, name, imported)
        elif isinstance(node, FUNCTIONS):
            _bind(bound, several, node.name)
            stack += [*node.decorator_list, *_defaults(node.args)]
        elif isinstance(node, ast.ClassDef):
            _bind(bound, several, node.name)
            stack += [*node.decorator_list, *node.bases, *node.keywords]
        elif isinstance(node, ast.Lambda):
            stack += _defaults(node.args)
        elif isinstance(node, COMPREHENSIONS):
            for inner in ast.walk(node):
                if isinstance(inner, ast.NamedExpr):
                    _bind(bound, several, inner.target.id)
        elif isinstance(node, ast.Global):
            bound.module_names.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            bound.outer_names.update(node.names)
        else:
            if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                _bind(bound, several, node.name)
            elif isinstance(node, ast.MatchMapping) and node.rest:
                _bind(bound, several, node.rest)
            stack += _binders(node, file.walrus)[::-1]
    for name in bound.module_names | bound.outer_names:
        bound.names.pop(name, None)
    bound.imports = {name: each for name, each in bound.imports.items() if name not in several}
    return bound


def function_scope(node: Function | ast.Lambda, parent: Scope | None, file: File) -> Scope:
    """Return the scope of a function's body: its parameters, and what it binds itself."""
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    bound = bindings(body, file)
    args = node.args
    for each in (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg):
        if each is not None:
            bound.names[each.arg] = None
            bound.imports.pop(each.arg, None)
    for parameter in getattr(node, "type_params", ()):
        bound.names[parameter.name] = None
    return Scope(parent, bound)


def comprehension_scope(node: Comprehension, parent: Scope | None) -> Scope:
    """Return the scope of a comprehension, which binds the targets of its loops."""
    names: dict[str, None] = {}
    for generator in node.generators:
        for inner in ast.walk(generator.target):
            if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
                names[inner.id] = None
    return Scope(parent, Bindings(names))


def brought(node: ast.Import | ast.ImportFrom, package: list[str]) -> Iterator[tuple[str, Import]]:
    """Yield the names that an import binds, with what they are bound to."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, Import(whole)
        return
    above = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        yield alias.asname or alias.name, Import(module, alias.name)


def _bind(bound: Bindings, several: set[str], name: str, imported: Import | None = None) -> None:
    if name not in bound.names:
        bound.names[name] = None
        if imported is not None:
            bound.imports[name] = imported
    elif bound.imports.get(name) != imported or imported is None:
        several.add(name)


def _binders(node: ast.AST, walrus: bool) -> list[ast.AST]:
    """Return the nodes directly within one that may bind names in the same scope."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            value = [value]
        if not isinstance(value, list):
            continue
        for each in value:
            if not isinstance(each, ast.expr) or walrus or type(getattr(each, "ctx", None)) in _BINDING:
                found.append(each)
    return [each for each in found if isinstance(each, ast.AST)]


def _defaults(args: ast.arguments) -> list[ast.expr]:
    return [*args.defaults, *(each for each in args.kw_defaults if each is not None)]
