"""Decides whether the outermost folders of a tree are the parts of a split, and asks where that cannot be told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tlbench.core.errors import UserError
from tlbench.data.file_tree import Tree
from tlbench.data.split_names import is_unlabeled, refuse_two_of_one, resembles_split, split_of

_RENAME = "call the parts of a split train, val and test: split/class/img"


def leave_out_unlabeled(tree: Tree, skip: int) -> str:
    """Leave out the folder of images without labels that lies beside the parts of a split.

    Args:
        tree: The files; those without labels are taken out of it.
        skip: How many outermost levels hold everything and mean nothing.

    Returns:
        A note that says so, or nothing where there is no such folder.
    """
    outer = _outer(tree, skip)
    apart = {name for name in outer if is_unlabeled(name)}
    if not apart or outer == apart or not all(map(split_of, outer - apart)):
        return ""
    count = sum(_stands_in(entry.parts, skip, apart) for entry in tree.files)
    tree.files = [entry for entry in tree.files if not _stands_in(entry.parts, skip, apart)]
    tree.folders = {parts for parts in tree.folders if not _stands_in(parts, skip, apart)}
    return f"the folder {sorted(apart)[0]!r} is passed over: its {count} files have no labels"


def are_splits(tree: Tree, skip: int, layout: str) -> bool:
    """Return whether the outermost folders are the parts of a split.

    They are if each has the name of one, and there are two at least. Domains and groups with such names among others
    are taken as they are where the suite says the layout.

    Args:
        tree: The files.
        skip: How many outermost levels hold everything and mean nothing.
        layout: A layout, or ``auto``.

    Raises:
        UserError: Two folders mean one split, or the names are those of splits in part.
    """
    outer = _outer(tree, skip)
    if len(outer) > 1 and all(map(split_of, outer)):
        refuse_two_of_one(str(tree.path), outer)
        _refuse_too_flat(tree, skip, layout, outer)
        return True
    if layout == "auto":
        _refuse_doubtful(tree, skip, outer)
    return False


def refuse_inner(path: object, layout: str, names: Collection[str]) -> None:
    """Refuse folders in which the parts of a split stand where classes should, as in class/train/img.

    Args:
        path: The source, for messages.
        layout: ``domains`` or ``groups``.
        names: Names of the classes' folders.

    Raises:
        UserError: All of them are names of splits.
    """
    if len(names) > 1 and all(map(split_of, names)):
        raise UserError(
            f"{path}: the innermost folders, {_listed(names)}, are called as the parts of a split, not as classes",
            f"a split lies outermost: split/{'' if layout == 'auto' else layout[:-1] + '/'}class/img",
        )


def _refuse_too_flat(tree: Tree, skip: int, layout: str, outer: Collection[str]) -> None:
    inner = max(len(entry.parts) for entry in tree.files) - skip - 2
    if layout in ("domains", "groups") and inner == 1:
        raise UserError(
            f"{tree.path}: {_listed(outer)} are the parts of a split, not {layout}",
            f"leave out layout, or put {layout} into each: split/{layout[:-1]}/class/img",
        )


def _refuse_doubtful(tree: Tree, skip: int, outer: set[str]) -> None:
    """Refuse outermost folders that are called as parts of a split only in part or only nearly."""
    alike = {name for name in outer if resembles_split(name)}
    flat = min(len(entry.parts) for entry in tree.files) - skip == 2
    if len(outer) < 2 or not alike or (flat and alike != outer):  # a class may be called train, beside a bus
        return
    others = outer - alike
    if flat:
        raise UserError(
            f"{tree.path}: {_listed(outer)} are called as the parts of a split, but hold no class folders",
            f"{_RENAME}; say layout: classes if they are classes",
        )
    said = f"{_listed(alike)} may be parts of a split" + (f", but {_listed(others)} not" if others else "")
    raise UserError(
        f"{tree.path}: it is not clear what the outermost folders mean: {said}",
        f"{_RENAME}, and move others out; or say layout: domains or layout: groups if they are those",
    )


def _outer(tree: Tree, skip: int) -> set[str]:
    return {parts[skip] for parts in tree.folders if len(parts) > skip}


def _stands_in(parts: Sequence[str], skip: int, names: Collection[str]) -> bool:
    return len(parts) > skip and parts[skip] in names


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
