"""Snippets of Python: what one can mean, where it stands in a syntax tree, and how another takes its place.

Positions, layout, comments, docstrings and contexts (load or store) play no part. A snippet is one of

    expression    ``a + b``, ``*rest``
    tail          what follows an expression: ``+ b``, ``and b``, ``.detach()``, ``if a else b``
    keyword       ``name=value`` of a call or of the bases of a class
    parameter     ``name: int = 1`` of a function
    item          ``key: value`` of a dictionary
    clause        ``for x in y if z`` of a comprehension
    decorator     ``@name``
    head          ``if a:``, ``for x in y:``, ``except KeyError:``: a compound statement but for what stands under it
    statements    one or more
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

Nodes = tuple[ast.AST | None, ...]

_CONTEXT = {"ctx", "kind", "type_comment"}
_UNDER = {"body", "orelse", "finalbody", "handlers", "cases", "decorator_list"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_TAIL = re.compile(r"\.[a-zA-Z_]|(?:[-+*/%@&|^<>]|\*\*|//|<<|>>|[<>=!]=|and|or|is|in|not in|if)\s")


@dataclass(frozen=True)
class Slot:
    """One child of a node of a syntax tree; ``index`` says which where the field is a list."""

    parent: ast.AST
    field: str
    index: int | None = None

    @property
    def node(self) -> ast.AST:
        child = getattr(self.parent, self.field)
        return child if self.index is None else child[self.index]

    def put(self, *nodes: ast.AST, of: int = 1) -> None:
        """Put nodes where ``of`` nodes are now.

        Raises:
            ValueError: A single child cannot become none or several.
        """
        if self.index is not None:
            getattr(self.parent, self.field)[self.index : self.index + of] = nodes
        elif len(nodes) == 1:
            setattr(self.parent, self.field, nodes[0])
        else:
            raise ValueError(f"{ast.unparse(self.node)} cannot be left out there")


def children(parent: ast.AST) -> Iterator[Slot]:
    """Yield the slots of a node's children, in the order of the grammar."""
    for field, value in ast.iter_fields(parent):
        if isinstance(value, ast.AST):
            yield Slot(parent, field)
        elif isinstance(value, list):
            yield from (Slot(parent, field, k) for k, node in enumerate(value) if isinstance(node, ast.AST))


def walk(slots: Iterator[Slot] | Sequence[Slot]) -> Iterator[Slot]:
    """Yield slots and all that is in them, parents first."""
    for slot in slots:
        yield slot
        yield from walk(children(slot.node))


def without_docstring(node: ast.AST, body: Any) -> Any:
    """Return the body of a node but for its docstring."""
    if not isinstance(node, _WITH_DOCSTRING) or not body or not isinstance(body[0], ast.Expr):
        return body
    first = body[0].value
    return body[1:] if isinstance(first, ast.Constant) and isinstance(first.value, str) else body


def same(one: Any, other: Any, ignored: set[str] = _CONTEXT) -> bool:
    """Say whether two nodes, lists of nodes or plain values are the same syntax."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if not isinstance(one, ast.AST):
        return repr(one) == repr(other)
    for field in one._fields:
        if field not in ignored:
            mine, others = getattr(one, field, None), getattr(other, field, None)
            if field == "body":
                mine, others = without_docstring(one, mine), without_docstring(other, others)
            if not same(mine, others):
                return False
    return True


# What a snippet can mean.


def readings(snippet: str) -> dict[str, Nodes]:
    """Return the nodes of a snippet by the kinds of syntax that it can be; none if it is no Python."""
    text = dedent(snippet).strip("\n").rstrip()
    forms = _forms(text)
    found = {}
    for kind, source, pick in forms:
        try:
            nodes = tuple(pick(ast.parse(source).body[0]))
        except (SyntaxError, ValueError, AttributeError, IndexError):
            continue
        found.setdefault(kind, nodes)
    if not found or set(found) <= {"keyword", "parameter", "item", "expression"}:
        with suppress(SyntaxError):
            found["statements"] = tuple(ast.parse(text).body)
    return found


def _forms(text: str) -> list[tuple[str, str, Callable[[Any], Sequence[ast.AST | None]]]]:
    """Return the kinds that a text may be, a source that has it as such, and where in the source's statement it is."""
    if text.endswith(":"):
        head = text.removeprefix("el") if text.startswith("elif") else text
        return [
            ("head", f"{head} ...", lambda node: [node]),
            ("head", f"try: ...\n{head} ...", lambda node: _only(node.handlers)),
            ("head", f"match _:\n    {head} ...", lambda node: _only(node.cases)),
        ]
    if _TAIL.match(text):
        return [("tail", f"(_ {text}\n)", lambda node: [node.value])]
    if text.startswith("@"):
        return [("decorator", f"{text}\ndef _(): ...", lambda node: _only(node.decorator_list))]
    if re.match(r"(async )?for\s", text):
        return [("clause", f"[_ {text}\n]", lambda node: _only(node.value.generators))]
    return [
        ("expression", f"(\n{text}\n)", lambda node: [node.value]),
        ("expression", f"_({text}\n)", lambda node: _only(node.value.args, none=node.value.keywords)),
        ("keyword", f"_({text}\n)", lambda node: _only(node.value.keywords, none=node.value.args)),
        ("parameter", f"def _({text}\n): ...", lambda node: _parameter(node.args)),
        ("item", f"{{{text}\n}}", lambda node: [*_only(node.value.keys), *node.value.values]),
    ]


def _only(nodes: Sequence[ast.AST], none: Sequence[ast.AST] = ()) -> Sequence[ast.AST]:
    if len(nodes) != 1 or none:
        raise ValueError
    return nodes


def _parameter(arguments: ast.arguments) -> Nodes:
    (pair,) = (pair for _, pairs in parameters(arguments) for pair in pairs)
    return pair


def parameters(arguments: ast.arguments) -> list[tuple[str, list[tuple[ast.arg, ast.expr | None]]]]:
    """Return the fields of a function's parameters, each with its parameters and their defaults."""
    bare = [None] * (len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults))
    defaults = iter([*bare, *arguments.defaults])
    return [
        ("posonlyargs", [(each, next(defaults)) for each in arguments.posonlyargs]),
        ("args", [(each, next(defaults)) for each in arguments.args]),
        ("kwonlyargs", list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))),
    ]


# Where a snippet stands, and what then stands there.


@dataclass(frozen=True)
class Place:
    """Where a snippet stands in a tree, as what, and which slot it begins in."""

    kind: str
    slot: Slot
    nodes: Nodes

    def exchange(self, new: Nodes) -> None:
        """Put other nodes of the same kind there, or none.

        Raises:
            ValueError: It cannot be left out there.
        """
        getattr(self, f"_{self.kind}", self._slot)(new)

    def _slot(self, new: Nodes) -> None:
        self.slot.put(*(node for node in new if node is not None))

    def _statements(self, new: Nodes) -> None:
        self.slot.put(*(node for node in new if node is not None), of=len(self.nodes))
        if not getattr(self.slot.parent, self.slot.field) and self.slot.field == "body":
            self.slot.put(ast.Pass(), of=0)

    def _expression(self, new: Nodes) -> None:
        self._slot(new)
        parent = self.slot.parent
        if isinstance(parent, ast.BoolOp) and len(parent.values) == 1:
            _become(parent, parent.values[0])

    def _head(self, new: Nodes) -> None:
        (head,) = new
        if type(head) is not type(self.slot.node):
            raise ValueError("a head becomes another of its kind")
        for field in head._fields:
            if field not in _UNDER:
                setattr(self.slot.node, field, getattr(head, field))

    def _parameter(self, new: Nodes) -> None:
        arguments = self.slot.parent
        fields = {field: list(pairs) for field, pairs in parameters(arguments)}
        fields[self.slot.field][self.slot.index : self.slot.index + 1] = [new] if new else []
        for field, pairs in fields.items():
            setattr(arguments, field, [each for each, _ in pairs])
        positional = [default for _, default in fields["posonlyargs"] + fields["args"]]
        arguments.defaults = [each for each in positional if each is not None]
        if None in positional[len(positional) - len(arguments.defaults) :]:
            raise ValueError("a parameter without a default cannot follow one with a default")
        arguments.kw_defaults = [default for _, default in fields["kwonlyargs"]]

    def _item(self, new: Nodes) -> None:
        for field, node in zip(("keys", "values"), new or (None, None), strict=True):
            Slot(self.slot.parent, field, self.slot.index).put(*([node] if new else []))

    def _tail(self, new: Nodes) -> None:
        node = self.slot.node
        if isinstance(node, ast.BoolOp) and len(node.values) > 2:
            self._operand(new)
            return
        before = _leftmost(node, self.nodes[0]).node
        if new:
            _leftmost(new[0]).put(before)
            before = new[0]
        self.slot.put(before)

    def _operand(self, new: Nodes) -> None:
        node, (old,) = self.slot.node, self.nodes
        (index,) = (k for k, value in enumerate(node.values) if k and same(value, old.values[1]))
        if new and not same(new[0].op, node.op):
            raise ValueError("one of several operands cannot have another operator")
        node.values[index : index + 1] = new[0].values[1:] if new else []


def _become(node: ast.AST, other: ast.AST) -> None:
    node.__class__ = other.__class__
    node.__dict__ = other.__dict__


def _leftmost(node: ast.AST, pattern: ast.AST | None = None) -> Slot:
    """Return the slot of what a node begins with, as deep in it as ``_`` is in the pattern (or in the node itself)."""
    fields = {"BinOp": "left", "Compare": "left", "Attribute": "value", "Call": "func", "Subscript": "value"}
    fields |= {"IfExp": "body", "BoolOp": "values"}
    pattern = pattern or node
    while True:
        field = fields[type(pattern).__name__]
        slot, inner = (Slot(each, field, 0 if field == "values" else None) for each in (node, pattern))
        if isinstance(inner.node, ast.Name) and inner.node.id == "_":
            return slot
        node, pattern = slot.node, inner.node


def places(slots: Sequence[Slot], snippet: dict[str, Nodes]) -> Iterator[Place]:
    """Yield where a snippet stands in what is in some slots, as any of the kinds that it can be."""
    outermost = {id(slot.node) for slot in slots}
    for slot in walk(slots):
        for kind, nodes in snippet.items():
            if kind == "statements" and id(slot.node) in outermost and len(nodes) > len(outermost):
                continue  # the next statement is of another definition
            if _stands(slot, kind, nodes):
                yield Place(kind, slot, nodes)


def _stands(slot: Slot, kind: str, nodes: Nodes) -> bool:
    node, first = slot.node, nodes[0]
    if kind == "statements":
        if not isinstance(node, ast.stmt) or slot.index is None:
            return False
        return same(getattr(slot.parent, slot.field)[slot.index : slot.index + len(nodes)], list(nodes))
    if kind == "head":
        return same(node, first, _CONTEXT | _UNDER)
    if kind == "decorator":
        return slot.field == "decorator_list" and same(node, first)
    if kind == "parameter":
        if not isinstance(slot.parent, ast.arguments) or not isinstance(node, ast.arg) or slot.index is None:
            return False
        pairs = dict(parameters(slot.parent)).get(slot.field, [])
        bare = nodes[1] is None and first.annotation is None  # a mere name, which is an expression
        return bool(pairs) and not bare and same(list(pairs[slot.index]), list(nodes))
    if kind == "item":
        if not isinstance(slot.parent, ast.Dict) or slot.field != "values":
            return False
        return same([slot.parent.keys[slot.index], node], list(nodes))
    if kind == "tail":
        return _has_tail(node, first)
    return same(node, first)


def _has_tail(node: ast.AST, pattern: ast.AST) -> bool:
    if isinstance(pattern, ast.Name) and pattern.id == "_":
        return isinstance(node, ast.expr)
    if type(node) is not type(pattern):
        return False
    if isinstance(pattern, ast.BoolOp) and len(pattern.values) == 2 and isinstance(pattern.values[0], ast.Name):
        return same(node.op, pattern.op) and sum(same(each, pattern.values[1]) for each in node.values[1:]) == 1
    left = {"BinOp": "left", "Compare": "left", "Attribute": "value", "Call": "func", "Subscript": "value"}
    field = (left | {"IfExp": "body"}).get(type(pattern).__name__)
    return (
        field is not None
        and same(node, pattern, _CONTEXT | {field})
        and _has_tail(getattr(node, field), getattr(pattern, field))
    )
