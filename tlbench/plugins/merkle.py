"""Hashes of texts that refer to one another, in which each reference stands for the hash of what it refers to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Node(Generic[K]):
    """A text and, in order, what it refers to. The text itself shows where each reference stands."""

    text: str
    references: tuple[K, ...]


class Merkle(Generic[K]):
    """Hashes of the nodes of a graph, each computed once.

    Nodes that refer to one another (a strongly connected component) are told apart by colour refinement: each starts
    with the hash of its text and of what it refers to outside, and takes in the colours of what it refers to inside as
    often as there are nodes. So neither names nor order matter, and two nodes get the same hash just if following
    their references never shows a difference.

    Args:
        node: Returns the node of a key.
    """

    def __init__(self, node: Callable[[K], Node[K]]) -> None:
        self._find = node
        self._nodes: dict[K, Node[K]] = {}
        self._hashes: dict[K, str] = {}

    def node(self, key: K) -> Node[K]:
        """Return the node of a key."""
        if key not in self._nodes:
            self._nodes[key] = self._find(key)
        return self._nodes[key]

    def hash(self, key: K) -> str:
        """Return the hash of a node and of all that it reaches."""
        if key not in self._hashes:
            for component in self._components(key):
                self._hash_together(component)
        return self._hashes[key]

    def reach(self, keys: Iterable[K]) -> set[K]:
        """Return some nodes and all that they reach."""
        todo = list(keys)
        reached = set(todo)
        while todo:
            new = set(self.node(todo.pop()).references) - reached
            reached |= new
            todo += new
        return reached

    def _components(self, root: K) -> list[list[K]]:
        """Return the strongly connected components without hashes that a node reaches, each after those it refers to.

        Tarjan 1972, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1(2), without recursion.
        """
        number: dict[K, int] = {root: 0}
        lowest: dict[K, int] = {root: 0}
        stack, waiting = [root], {root}
        path = [(root, iter(self.node(root).references))]
        components = []
        while path:
            key, references = path[-1]
            for other in references:
                if other in self._hashes:
                    continue
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    stack.append(other)
                    waiting.add(other)
                    path.append((other, iter(self.node(other).references)))
                    break
                if other in waiting:
                    lowest[key] = min(lowest[key], number[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[key])
                if lowest[key] == number[key]:
                    start = stack.index(key)
                    components.append(stack[start:])
                    waiting.difference_update(stack[start:])
                    del stack[start:]
        return components

    def _hash_together(self, component: list[K]) -> None:
        inside = set(component)
        colours = {
            key: digest(
                self.node(key).text,
                *("" if other in inside else self._hashes[other] for other in self.node(key).references),
            )
            for key in component
        }
        if len(component) > 1 or component[0] in self.node(component[0]).references:
            for _ in component:
                colours = {
                    key: digest(
                        colours[key], *(colours[other] for other in self.node(key).references if other in inside)
                    )
                    for key in component
                }
        self._hashes.update(colours)


def digest(*texts: str) -> str:
    """Return a hash of some texts, of which only the first may hold NUL."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
