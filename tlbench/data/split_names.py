"""What people call the parts of a split: one table for folders, zips and the split columns of tables."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tlbench.core.errors import UserError

SPLITS = ("train", "val", "test")
ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLIT = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
_UNLABELED = ("unlabeled", "unlabelled")
_DOUBTFUL = (
    *_UNLABELED,
    *("eval", "evaluation", "holdout", "trn", "tst", "fold", "query", "gallery", "labeled"),
)
_ALIKE = re.compile(rf"({'|'.join(_SPLIT)})(sets?|data|images?|imgs?|split)?|(train|test)[a-z]")
_CAPITALS = re.compile(r"[A-Z][a-z]+|^[a-z]+")


def split_of(name: str) -> str:
    """Return ``train``, ``val`` or ``test`` where a name means that in any case of its letters, else nothing."""
    return _SPLIT.get(name.strip().lower(), "")


def is_unlabeled(name: str) -> bool:
    """Return whether a name beside those of splits means examples without labels."""
    return name.strip().lower() in _UNLABELED


def resembles_split(name: str) -> bool:
    """Return whether a name may mean a part of a split, so that it is asked about.

    It is that of a split or holds one as a word, as do ``train2017``, ``my_test``, ``testA`` and ``Trainset``; or it is
    one of the words that others use.
    """
    words = [word for part in re.findall(r"[^\W\d_]+", name) for word in (part, *_CAPITALS.findall(part))]
    return any(_ALIKE.fullmatch(word.lower()) or word.lower() in _DOUBTFUL for word in words)


def refuse_two_of_one(where: str, names: Iterable[str]) -> None:
    """Refuse two names of one split, such as ``val`` and ``valid``: which is meant, or both, is not said.

    Args:
        where: The source, for messages.
        names: Names that each mean a split.

    Raises:
        UserError: Two of them mean the same split.
    """
    first: dict[str, str] = {}
    for name in sorted(names):
        other = first.setdefault(split_of(name), name)
        if other != name:
            raise UserError(
                f"{where}: {other!r} and {name!r} both mean the split {split_of(name)}",
                "put them together, or move one out",
            )
