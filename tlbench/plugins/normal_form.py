"""One text for one meaning of a definition: names of what the package defines are references, and prose is left out.

Left out are docstrings, comments, positions, the annotations of functions and variables, the ``description`` of
parameters, and the texts of exceptions. Local names, attributes and keyword arguments stay as they are written; what
other libraries define stands under its full dotted name, however it was imported.

Annotations in the body of a class stay: dataclasses and pydantic read them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from tlbench.plugins.definitions import INFRASTRUCTURE, Definition, Module, Sources, Target, says_nothing
from tlbench.plugins.merkle import Node
from tlbench.plugins.scopes import (
    FUNCTIONS,
    Bindings,
    Comprehension,
    Function,
    Scope,
    bindings,
    brought,
    comprehension_scope,
    function_scope,
)

HOLE = "\0"
"""Stands in the text for a reference; no source text holds it, since constants stand there as Python writes them."""
_SILENT = frozenset(("ctx", "kind", "type_comment", "type_ignores", "type_params"))
_PROSE = "description"

Key = tuple[str, int | str]
"""A node of the graph of definitions: a module's name with the position of a statement, or with a name bound by
several statements, or with an empty name for the whole module."""


def normal_form(key: Key, sources: Sources) -> Node[Key]:
    """Return the text of a definition with a hole for each reference, and what these refer to.

    Args:
        key: The definition.
        sources: Finds its module, and what that refers to.
    """
    module = sources.module(key[0])
    assert isinstance(module, Module)
    at = key[1]
    if isinstance(at, int):
        writer = _Writer(module, module.bound[at], sources)
        return Node(writer.text(module.statements[at], None), tuple(writer.references))
    if at:
        return Node(
            "name:" + ",".join(f"{HOLE}{module.bound[position][at]}" for position in module.defined[at]),
            tuple((module.name, position) for position in module.defined[at]),
        )
    names = sorted(module.defined)
    nodes = [node_of(module, name) for name in names]
    text = ",".join(f"{name}={HOLE}{which}" for name, (_, which) in zip(names, nodes, strict=True))
    return Node(f"module:{text}", tuple(node for node, _ in nodes))


def node_of(module: Module, name: str) -> tuple[Key, str]:
    """Return the node of a name that a module defines, and which of that node's names it is."""
    positions = module.defined[name]
    if len(positions) == 1:
        return (module.name, positions[0]), str(module.bound[positions[0]][name])
    return (module.name, name), ""


class _Writer:
    """Writes one top-level statement.

    Args:
        module: The module.
        own: The names that the statement binds at the top of the module, with their positions.
        sources: Finds what the module refers to.
    """

    def __init__(self, module: Module, own: dict[str, int], sources: Sources) -> None:
        self._module = module
        self._own = own
        self._sources = sources
        self.references: list[Key] = []

    def text(self, node: Any, scope: Scope | None) -> str:
        """Return a node's text."""
        special = _SPECIAL.get(type(node))
        return self._plain(node, scope) if special is None else special(self, node, scope)

    def _plain(self, node: ast.AST, scope: Scope | None) -> str:
        """Return the text of a node that has no rule of its own; what is absent or empty is left out."""
        kind = type(node)
        parts = []
        for name in _fields(kind):
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            if isinstance(value, ast.AST):
                parts.append(f"{name}={self.text(value, scope)}")
            elif isinstance(value, list):
                parts.append(f"{name}={self._list(value, scope)}")
            else:
                parts.append(f"{name}={value!r}")
        return f"{kind.__name__}({','.join(parts)})"

    def _list(self, values: Iterable[Any], scope: Scope | None) -> str:
        texts = [
            self.text(value, scope) if isinstance(value, ast.AST) else repr(value)
            for value in values
            if not (isinstance(value, ast.stmt) and says_nothing(value))
        ]
        return f"[{','.join(each for each in texts if each)}]"

    # Names

    def _name(self, node: ast.Name, scope: Scope | None) -> str:
        if not isinstance(node.ctx, ast.Load):
            if scope is None and node.id in self._own:
                return f"={self._own[node.id]}"
            if scope is not None and scope.is_class:
                return f"name:{node.id}"
        target = self._target(node.id, scope)
        return f"name:{node.id}" if target is None else self._refer(target)

    def _attribute(self, node: ast.Attribute, scope: Scope | None) -> str:
        names = [node.attr]
        base = node.value
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        target = self._target(base.id, scope) if isinstance(base, ast.Name) else None
        if target is None:
            text = self.text(base, scope)
        else:
            while names and not isinstance(target, Definition):
                target = self._sources.attribute(target, names.pop())
            text = self._refer(target)
        return text + "".join(f".{name}" for name in reversed(names))

    def _target(self, name: str, scope: Scope | None) -> Target | None:
        """Return what a name refers to; None for local names and builtins."""
        if scope is not None:
            holder = scope.find(name)
            if holder is not None:
                imported = holder.bindings.imports.get(name)
                return None if imported is None else self._sources.target(imported)
        if name in self._module.defined:
            return Definition(self._module, name)
        imported = self._module.imports.get(name)
        return None if imported is None else self._sources.target(imported)

    def _refer(self, target: Target) -> str:
        if isinstance(target, str):
            return f"external:{target}"
        if isinstance(target, Module):
            self.references.append((target.name, ""))
            return HOLE
        key, which = node_of(target.module, target.name)
        self.references.append(key)
        return HOLE + which

    # Statements that bind names

    def _bound(self, name: str, scope: Scope | None) -> str:
        return f"={self._own[name]}" if scope is None else repr(name)

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope | None) -> str:
        """Return nothing where every use of the name shows what was imported."""
        shown = []
        for name, imported in brought(node, self._module.file.package):
            if scope is None or scope.is_class or name not in scope.bindings.imports:
                shown.append(f"{self._bound(name, scope)} {self._refer(self._sources.target(imported))}")
        return f"Import({','.join(shown)})" if shown else ""

    def _function(self, node: Function, scope: Scope | None) -> str:
        inner = function_scope(node, scope, self._module.file)
        return (
            f"{type(node).__name__}({self._bound(node.name, scope)},{self._list(node.decorator_list, scope)},"
            f"{self._arguments(node.args, scope)},{self._list(node.body, inner)})"
        )

    def _lambda(self, node: ast.Lambda, scope: Scope | None) -> str:
        inner = function_scope(node, scope, self._module.file)
        return f"Lambda({self._arguments(node.args, scope)},{self.text(node.body, inner)})"

    def _arguments(self, args: ast.arguments, scope: Scope | None) -> str:
        names = [
            *(each.arg for each in args.posonlyargs),
            *(["/"] if args.posonlyargs else []),
            *(each.arg for each in args.args),
            *([f"*{args.vararg.arg if args.vararg else ''}"] if args.vararg or args.kwonlyargs else []),
            *(each.arg for each in args.kwonlyargs),
            *([f"**{args.kwarg.arg}"] if args.kwarg else []),
        ]
        return f"{' '.join(names)},{self._list(args.defaults, scope)},{self._list(args.kw_defaults, scope)}"

    def _class(self, node: ast.ClassDef, scope: Scope | None) -> str:
        head = f"{self._bound(node.name, scope)},{self._list([*node.decorator_list, None, *node.bases], scope)}"
        inner = Scope(scope, Bindings(), is_class=True)
        body = []
        for statement in node.body:
            body += [] if says_nothing(statement) else [self.text(statement, inner)]
            inner.bindings.names.update(bindings([statement], self._module.file).names)
        return f"ClassDef({head},{self._list(node.keywords, scope)},{','.join(body)})"

    def _annotated(self, node: ast.AnnAssign, scope: Scope | None) -> str:
        annotation = f":{self.text(node.annotation, scope)}" if scope is not None and scope.is_class else ""
        if node.value is None and not annotation:
            return ""
        value = "" if node.value is None else self.text(node.value, scope)
        return f"Assign(targets=[{self.text(node.target, scope)}{annotation}],value={value})"

    def _global(self, node: ast.Global, scope: Scope | None) -> str:
        return ""

    # Expressions

    def _comprehension(self, node: Comprehension, scope: Scope | None) -> str:
        inner = comprehension_scope(node, scope)
        loops = []
        for number, each in enumerate(node.generators):
            over = self.text(each.iter, inner if number else scope)
            loops.append(f"{self.text(each.target, inner)} {over} {self._list(each.ifs, inner)} {each.is_async}")
        values = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return f"{type(node).__name__}({self._list(values, inner)},{';'.join(loops)})"

    def _call(self, node: ast.Call, scope: Scope | None) -> str:
        before = len(self.references)
        function = self.text(node.func, scope)
        if function == "external:typing.cast" and len(node.args) == 2:
            return self.text(node.args[1], scope)
        args: list[ast.expr] = list(node.args)
        if len(self.references) == before + 1 and function.startswith(HOLE):
            at = self._place_of_prose(self.references[-1])
            if at is not None and at < len(args) and _is_text(args[at]):
                args[at] = ast.Constant("")
                if at == len(args) - 1:
                    args.pop()
        keywords = [each for each in node.keywords if each.arg != _PROSE or not _is_text(each.value)]
        return f"Call({function},{self._list(args, scope)},{self._list(keywords, scope)})"

    def _place_of_prose(self, key: Key) -> int | None:
        """Return which positional argument of a function is a description."""
        module, at = self._sources.module(key[0]), key[1]
        if isinstance(module, Module) and isinstance(at, int):
            function = module.statements[at]
            if isinstance(function, FUNCTIONS):
                names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
                return names.index(_PROSE) if _PROSE in names else None
        return None

    def _raise(self, node: ast.Raise, scope: Scope | None) -> str:
        raised = node.exc
        if isinstance(raised, ast.Call):
            kind = self.text(raised.func, scope)
            given = [*raised.args, *raised.keywords] if kind != f"external:{INFRASTRUCTURE}" else []
            return f"Raise({kind},{self._list([each for each in given if not _is_text(each)], scope)})"
        return f"Raise({'' if raised is None else self.text(raised, scope)})"

    def _assert(self, node: ast.Assert, scope: Scope | None) -> str:
        return f"Assert({self.text(node.test, scope)})"

    def _constant(self, node: ast.Constant, scope: Scope | None) -> str:
        return repr(node.value)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(name for name in kind._fields if name not in _SILENT)
    return _FIELDS[kind]


_SPECIAL: dict[type[ast.AST], Callable[[_Writer, Any, Scope | None], str]] = {
    ast.Name: _Writer._name,
    ast.Attribute: _Writer._attribute,
    ast.Import: _Writer._import,
    ast.ImportFrom: _Writer._import,
    ast.FunctionDef: _Writer._function,
    ast.AsyncFunctionDef: _Writer._function,
    ast.Lambda: _Writer._lambda,
    ast.ClassDef: _Writer._class,
    ast.AnnAssign: _Writer._annotated,
    ast.Global: _Writer._global,
    ast.ListComp: _Writer._comprehension,
    ast.SetComp: _Writer._comprehension,
    ast.DictComp: _Writer._comprehension,
    ast.GeneratorExp: _Writer._comprehension,
    ast.Call: _Writer._call,
    ast.Raise: _Writer._raise,
    ast.Assert: _Writer._assert,
    ast.Constant: _Writer._constant,
}
