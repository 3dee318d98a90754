"""Turns the split names that a source gives its examples into parts, or makes a split where it gives none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError
from tlbench.data.dataset import TEST, TRAIN, VAL
from tlbench.data.sampling import hold_out
from tlbench.data.split_names import SPLITS

_NUMBER = {"train": TRAIN, "val": VAL, "test": TEST}
_HELD_OUT = 0.2


@dataclass(frozen=True)
class Parts:
    """The example split (N,), a split of the classes where the source means that, and what to warn of."""

    part: NDArray[np.uint8]
    class_splits: dict[str, tuple[int, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def divide(
    where: str,
    splits: Sequence[str] | None,
    y: NDArray[np.int64],
    classes: Sequence[str],
    domain: Sequence[str] | None = None,
) -> Parts:
    """Return the example split of a source.

    * No split names: a fixed fifth of each class (and domain) is for testing.
    * ``train`` and ``test``, ``val`` if the source has one: taken as they are. Without ``test``, ``val`` is the test
      part, as in ImageNet.
    * Split names that share no class mean a split of the classes (few-shot sets are shipped so): it becomes
      ``class_splits``, and the examples are split as if there were no names. Without ``val``, a fixed fifth of the
      training classes is for validation.

    Args:
        where: The source, for messages.
        splits: ``train``, ``val`` or ``test`` of each example (N,), or None.
        y: Labels (N,).
        classes: Class names.
        domain: Domain name of each example (N,), or None.

    Raises:
        UserError: A class has too few examples to be split, or none to train on.
    """
    if splits is None:
        return Parts(_seeded(where, y, classes, domain))
    names = np.asarray(splits)
    of_split = {name: np.unique(y[names == name]) for name in SPLITS if (names == name).any()}
    if "train" not in of_split or len(of_split) < 2:
        raise UserError(
            f"{where}: there must be a train split and a test split, found: {', '.join(of_split)}",
            "one part alone needs no name: leave the split out, and a fifth is held out for testing"
            if len(of_split) < 2
            else "call the examples to train on train",
        )
    if sum(len(labels) for labels in of_split.values()) == len(classes):
        return _split_of_classes(where, of_split, _seeded(where, y, classes, domain))
    warnings = []
    if "test" not in of_split:
        names = np.where(names == "val", "test", names)
        of_split["test"] = of_split.pop("val")
        warnings.append("the source has no test split: its val split is the test split")
    for name, labels in of_split.items():
        unknown = np.setdiff1d(labels, of_split["train"])
        if len(unknown):
            raise UserError(
                f"{where}: class {classes[unknown[0]]!r} is in {name} but not in train",
                "give train examples of it, or leave it out",
            )
    untested = len(classes) - len(of_split["test"])
    if untested:
        warnings.append(f"{untested} of {len(classes)} classes have no test example")
    part = np.select([names == name for name in SPLITS], [_NUMBER[name] for name in SPLITS]).astype(np.uint8)
    return Parts(part, warnings=tuple(warnings))


def _split_of_classes(where: str, of_split: dict[str, NDArray[np.int64]], part: NDArray[np.uint8]) -> Parts:
    if "test" not in of_split or len(of_split["train"]) < 2:
        raise UserError(
            f"{where}: its splits {' and '.join(of_split)} share no class",
            "give train and test of the same classes to split examples, or train, val and test of different ones",
        )
    warnings: tuple[str, ...] = ()
    if "val" not in of_split:
        held = hold_out(["classes"] * len(of_split["train"]), _HELD_OUT)
        of_split = {"train": of_split["train"][~held], "val": of_split["train"][held], "test": of_split["test"]}
        warnings = ("train and test share no class: read as a split of the classes, for episodes",)
    return Parts(part, {name: tuple(of_split[name].tolist()) for name in SPLITS}, warnings)


def _seeded(
    where: str, y: NDArray[np.int64], classes: Sequence[str], domain: Sequence[str] | None
) -> NDArray[np.uint8]:
    count = np.bincount(y, minlength=len(classes))
    if (count < 2).any():
        label = int(np.argmin(count))
        raise UserError(
            f"{where}: class {classes[label]!r} has {'only 1 example' if count[label] else 'no example'}, "
            "but a class needs 2: one to train on and one to test on",
            "add examples or remove the class",
        )
    strata = [classes[label] for label in y]
    if domain is not None:
        strata = [f"{name}\x1f{place}" for name, place in zip(strata, domain, strict=True)]
    return np.where(hold_out(strata, _HELD_OUT), TEST, TRAIN).astype(np.uint8)
