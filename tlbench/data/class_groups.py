"""Splits classes for episodes by whole groups of them: dealt by their names, or as a suite asks for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import derive_seed
from tlbench.data.sampling import hold_out

Groups = int | tuple[str, ...]
"""How many groups, or which ones by name."""

ClassSplits = dict[str, tuple[int, ...]]
_HELD_OUT = 0.2


def deal(groups: Sequence[str]) -> ClassSplits:
    """Deal whole groups, about 60%, 20% and 20% of them, by their names alone.

    Args:
        groups: Group of each class, by label.

    Returns:
        Class labels of ``train``, ``val`` and ``test``; nothing where there are fewer than three groups.
    """
    order = _order(groups)
    held = _held(order)
    if len(order) < 3:
        return {}
    return {
        "train": _members(groups, order[2 * held :]),
        "val": _members(groups, order[held : 2 * held]),
        "test": _members(groups, order[:held]),
    }


def choose(where: str, groups: Sequence[str], test: Groups | None, val: Groups | None) -> ClassSplits:
    """Take the groups for testing and for validation that are asked for.

    A number takes as many in the order of :func:`deal`. Without groups for validation, a fixed fifth of the classes
    that are left for training is.

    Args:
        where: The source, for messages.
        groups: Group of each class, by label.
        test: Groups for testing; None is a fifth of them.
        val: Groups for validation; None or 0 is none.

    Returns:
        Class labels of ``train``, ``val`` and ``test``.

    Raises:
        UserError: There are no such groups, or too few classes are left to train on.
    """
    order = _order(groups)
    tested = _take(where, "test_groups", _held(order) if test is None else test, order, ())
    validated = _take(where, "val_groups", val or 0, order, tested)
    train = _members(groups, [group for group in order if group not in (*tested, *validated)])
    if len(train) < 2:
        raise UserError(
            f"{where}: test_groups and val_groups leave {len(train)} classes to train on",
            f"there are {len(order)} groups: leave some for training",
        )
    if validated:
        return {"train": train, "val": _members(groups, validated), "test": _members(groups, tested)}
    held = hold_out(["classes"] * len(train), _HELD_OUT)
    return {
        "train": tuple(label for label, out in zip(train, held, strict=True) if not out),
        "val": tuple(label for label, out in zip(train, held, strict=True) if out),
        "test": _members(groups, tested),
    }


def _order(groups: Sequence[str]) -> list[str]:
    return sorted(set(groups), key=lambda name: derive_seed("group split", name))


def _held(order: Sequence[str]) -> int:
    return max(1, round(_HELD_OUT * len(order)))


def _members(groups: Sequence[str], chosen: Collection[str]) -> tuple[int, ...]:
    return tuple(label for label, group in enumerate(groups) if group in chosen)


def _take(where: str, key: str, asked: Groups, order: Sequence[str], taken: Sequence[str]) -> list[str]:
    left = [group for group in order if group not in taken]
    if isinstance(asked, int):
        if asked > len(left):
            raise UserError(f"{where}: {key}: {asked} groups, but there are only {len(left)}")
        return left[:asked]
    for name in asked:
        if name in taken:
            raise UserError(f"{where}: {key}: group {name!r} is among test_groups already")
        if name not in left:
            raise UserError(f"{where}: {key}: there is no group {name!r}", nearest(name, order))
    return list(asked)
