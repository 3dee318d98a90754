"""A changed syntax tree as source: the old source, with another text for the smallest part that differs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from snippets import same

_POSITIONED = (ast.expr, ast.stmt, ast.keyword, ast.arg, ast.ExceptHandler)


def spliced(source: str, changed: ast.Module) -> str:
    """Return the source of a changed tree, which is the given source wherever the trees are the same.

    Raises:
        ValueError: No Python source has this tree.
    """
    encoded, starts = source.encode(), [0]
    for line in encoded.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for old, new in reversed(list(differences(ast.parse(source), changed))):
        start, end = _begin(old[0], starts), starts[old[-1].end_lineno - 1] + old[-1].end_col_offset
        for text in _texts(new, old[0].col_offset):
            whole = (encoded[:start] + text.encode() + encoded[end:]).decode()
            if _means(whole, changed):
                return whole
    whole = ast.unparse(ast.fix_missing_locations(changed)) + "\n"
    if not _means(whole, changed):
        raise ValueError("no Python source has the changed tree")
    return whole


def differences(old: ast.AST, new: ast.AST) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield what differs between two trees, from the largest part to the smallest that has all of the difference.

    A part is a node beside a node, or a run of statements of one block beside another, which may be empty.
    """
    while type(old) is type(new) and not isinstance(old, ast.JoinedStr):  # whose parts have no exact position in 3.11
        fields = [f for f in old._fields if not same(getattr(old, f, None), getattr(new, f, None))]
        if len(fields) != 1:
            return
        one, other = (getattr(node, fields[0], None) for node in (old, new))
        if isinstance(one, list) and isinstance(other, list):
            head = sum(1 for _ in takewhile(lambda pair: same(*pair), zip(one, other, strict=False)))
            tail = zip(reversed(one[head:]), reversed(other[head:]), strict=False)
            kept = sum(1 for _ in takewhile(lambda pair: same(*pair), tail))
            one, other = one[head : len(one) - kept], other[head : len(other) - kept]
            if one and all(isinstance(each, ast.stmt) for each in one) and (len(one), len(other)) != (1, 1):
                yield one, other
            if (len(one), len(other)) != (1, 1):
                return
            (one,), (other,) = one, other
        if not isinstance(one, ast.AST) or not isinstance(other, ast.AST):
            return
        if isinstance(one, _POSITIONED):
            yield [one], [other]
        old, new = one, other


def _begin(node: Any, starts: Sequence[int]) -> int:
    line = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    return starts[line - 1] + node.col_offset


def _texts(nodes: Sequence[ast.AST], column: int) -> Iterator[str]:
    """Yield the ways in which nodes may be written where others stood."""
    text = "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in nodes)
    text = text.replace("\n", "\n" + " " * column)
    yield text
    if len(nodes) == 1 and isinstance(nodes[0], ast.expr):
        yield f"({text})"
    if len(nodes) == 1 and isinstance(nodes[0], ast.If):
        yield f"el{text}"


def _means(source: str, tree: ast.Module) -> bool:
    try:
        return same(ast.parse(source), tree)
    except SyntaxError:
        return False
