"""Splits classes for episodes by whole groups of them: by their names, or as a suite chooses."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import derive_seed
from tlbench.data.sampling import hold_out

Groups = int | tuple[str, ...]
"""How many groups, or which ones by name."""

ClassSplits = dict[str, tuple[int, ...]]
_FRACTION = 0.2  # of groups or classes that are for testing, and that are for validation


def deal_groups(groups: Sequence[str]) -> ClassSplits:
    """Split classes by dealing whole groups, about 60%, 20% and 20% of them, by their names alone.

    Args:
        groups: Group of each class, by label.

    Returns:
        Class labels of ``train``, ``val`` and ``test``; nothing where there are fewer than three groups.
    """
    order = _order(groups)
    fifth = _fifth(order)
    if len(order) < 3:
        return {}
    return {
        "train": _labels_in(groups, order[2 * fifth :]),
        "val": _labels_in(groups, order[fifth : 2 * fifth]),
        "test": _labels_in(groups, order[:fifth]),
    }


def choose_groups(where: str, groups: Sequence[str], test: Groups | None, val: Groups | None) -> ClassSplits:
    """Split classes by the groups for testing and for validation that the user chooses.

    A number takes as many groups in the order of :func:`deal_groups`. Without groups for validation, a fixed fifth of
    the classes that are left for training is for validation.

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
    test_groups = _chosen(f"{where}: test_groups", _fifth(order) if test is None else test, order, ())
    val_groups = _chosen(f"{where}: val_groups", val or 0, order, test_groups)
    train = _labels_in(groups, [group for group in order if group not in (*test_groups, *val_groups)])
    if len(train) < 2:
        raise UserError(
            f"{where}: test_groups and val_groups leave {len(train)} classes to train on",
            f"there are {len(order)} groups: leave some for training",
        )
    tested = _labels_in(groups, test_groups)
    if val_groups:
        return {"train": train, "val": _labels_in(groups, val_groups), "test": tested}
    for_val = hold_out(["classes"] * len(train), _FRACTION)
    return {
        "train": tuple(label for label, out in zip(train, for_val, strict=True) if not out),
        "val": tuple(label for label, out in zip(train, for_val, strict=True) if out),
        "test": tested,
    }


def _order(groups: Sequence[str]) -> list[str]:
    """Return the names of the groups in an order that looks random and depends on the names alone."""
    return sorted(set(groups), key=lambda name: derive_seed("group split", name))


def _fifth(order: Sequence[str]) -> int:
    return max(1, round(_FRACTION * len(order)))


def _labels_in(groups: Sequence[str], chosen: Collection[str]) -> tuple[int, ...]:
    return tuple(label for label, group in enumerate(groups) if group in chosen)


def _chosen(where: str, choice: Groups, order: Sequence[str], test_groups: Sequence[str]) -> list[str]:
    """Return the names of the groups that a choice means; those for testing are taken already."""
    left = [group for group in order if group not in test_groups]
    if isinstance(choice, int):
        if choice > len(left):
            raise UserError(f"{where}: {choice} groups, but there are only {len(left)}")
        return left[:choice]
    for name in choice:
        if name in test_groups:
            raise UserError(f"{where}: group {name!r} is among test_groups already")
        if name not in left:
            raise UserError(f"{where}: there is no group {name!r}", nearest(name, order))
    return list(choice)
