"""Where a network is deep: splits any module tree into layer groups from stem to top and finds its blocks."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn


def find_blocks(body: nn.Module, kinds: Collection[str]) -> list[str]:
    """Return the names of the outermost submodules whose class is one of ``kinds``, in order.

    Of a network that has none, the direct submodules that hold parameters stand in.
    """
    return list(_blocks(body, "", kinds)) or [name for name, child in body.named_children() if _holds(child)]


def layer_groups(body: nn.Module, kinds: Collection[str]) -> list[list[str]]:
    """Split a network into groups from stem to top; each parameter lies under exactly one name.

    A group is a stage (a container of blocks), or a block where blocks stand alone or all in one container. What
    stands before the first is the stem. What stands between two (a transition, a down-sampling) belongs to the
    later one. What follows the last is a group of its own if it holds a matrix or convolution; mere normalisation
    joins the last.

    Args:
        body: The network; its modules must be registered in the order in which they act.
        kinds: Class names of blocks. A block without parameters (a pooling that ends a stage) ends a group.
    """
    blocks = frozenset(_blocks(body, "", kinds))
    units = list(_units(body, "", blocks, whole=True))
    if sum(heavy for _, heavy in units) == 1:
        units = list(_units(body, "", blocks, whole=False))
    if not any(heavy for _, heavy in units):
        units = [(name, True) for name, _ in units]
    return _group(body, units)


def block_groups(body: nn.Module, blocks: Collection[str]) -> list[list[str]]:
    """Split a network as :func:`layer_groups` does, but into one group a block.

    Args:
        body: The network.
        blocks: Names of the blocks, as :func:`find_blocks` returns them.
    """
    return _group(body, list(_units(body, "", frozenset(blocks), whole=False)))


def _group(body: nn.Module, units: list[tuple[str, bool]]) -> list[list[str]]:
    weighted = {part for name, p in body.named_parameters() if p.ndim > 1 for part in _ancestors(name)}
    with_parameters = {part for name, _ in body.named_parameters() for part in _ancestors(name)}
    groups: list[list[str]] = []
    pending: list[str] = []
    for name, heavy in units:
        if heavy and name in with_parameters and pending and not groups:
            groups.append(pending)
            pending = []
        pending += [name] if name in with_parameters else []
        if heavy and pending:
            groups.append(pending)
            pending = []
    if pending and groups and weighted.isdisjoint(pending):
        groups[-1] += pending
    elif pending:
        groups.append(pending)
    return groups


def _blocks(module: nn.Module, prefix: str, kinds: Collection[str]) -> Iterator[str]:
    for name, child in module.named_children():
        if type(child).__name__ in kinds:
            yield prefix + name
        else:
            yield from _blocks(child, f"{prefix}{name}.", kinds)


def _units(module: nn.Module, prefix: str, blocks: frozenset[str], whole: bool) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it is a stage or a block) of the pieces that groups are made of, in order.

    Args:
        module: Where to look.
        prefix: What to put before its names.
        blocks: Names of the blocks.
        whole: Whether a container of nothing but blocks is one piece.
    """
    for name, _ in module.named_parameters(recurse=False):
        yield prefix + name, False
    for name, child in module.named_children():
        path = prefix + name
        inner = [f"{path}.{own}" for own, grandchild in child.named_children() if _holds(grandchild)]
        if path in blocks or (whole and inner and blocks.issuperset(inner)):
            yield path, True
        elif any(block.startswith(f"{path}.") for block in blocks):
            yield from _units(child, f"{path}.", blocks, whole)
        else:
            yield path, False


def _holds(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _ancestors(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
