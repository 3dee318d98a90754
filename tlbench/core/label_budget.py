"""What part of a label budget is for validation, and in how many folds it validates where that part is small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tlbench.core.config import Settings
from tlbench.core.info import DatasetInfo, Shots

VAL_OF_SHOTS = 0.2
"""Part of each class's shots that is for validation, at least one example; a single shot has none."""
VAL_OF_FULL = 0.1
"""Part of each class that is for validation where all examples are labelled and the source holds none out."""
MOST_FOLDS = 5
"""Folds, fewer where a class has fewer labelled examples (Kohavi 1995, IJCAI, compares numbers of them)."""
FOLD_LABELS = 2000
"""Labels from which on a choice that needs no further training of the network is made on one fold of a fifth."""


class ExtraLabels(Settings):
    """Labels beside the shots, for validation alone."""

    extra: int = Field(ge=1, description="labelled examples of each class beside the shots, for validation alone")


def _form(value: object) -> str:
    return "extra" if isinstance(value, Mapping | ExtraLabels) else "validation"


Validation = Annotated[
    Annotated[Literal["auto", "held_out", "k_fold", "none"], Tag("validation")] | Annotated[ExtraLabels, Tag("extra")],
    Discriminator(_form),
]
"""What the labels of a budget that choose something are: see :mod:`tlbench.protocols.classification`."""


def extra_labels(options: Mapping[str, Any]) -> int:
    """Return the number of labels of each class beside the shots that the options of a protocol ask for."""
    validation = options.get("validation")
    return int(validation["extra"]) if isinstance(validation, Mapping) else 0


def gives_what_it_has(options: Mapping[str, Any]) -> bool:
    """Return whether a class with fewer examples than the budget gives all of them, by the options of a protocol."""
    return options.get("scarce") == "all"


def without_validation_labels(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a protocol under which no label is fitted to that a trial of a search is validated on."""
    if "validation" not in options or extra_labels(options):
        return dict(options)
    return {**options, "validation": "held_out", "refit": False}


def validation_of_shots(shots: int) -> int:
    """Return the number of each class's shots that are for validation."""
    return max(1, round(VAL_OF_SHOTS * shots)) if shots > 1 else 0


def validation_examples(info: DatasetInfo, shots: Shots) -> int:
    """Return about how many examples a label budget holds out for validation.

    Exact without groups; where the examples of a group stay together, the part of ``full`` is as near to a tenth as its
    groups allow.
    """
    counts = [count for count in info.counts.get("train", ()) if count]
    if shots != "full":
        return len(counts) * validation_of_shots(shots)
    own = sum(info.counts.get("val", ()))
    return own or sum(max(1, round(VAL_OF_FULL * count)) for count in counts)


def fold_count(info: DatasetInfo, shots: Shots, below: int) -> int:
    """Return in how many folds the trials of a search are validated; 1 is on the part that is held out.

    Args:
        info: Facts of the dataset.
        shots: The label budget.
        below: With fewer validation examples than this a trial is trained once for each fold, so that each labelled
            example validates once. One label a class cannot be divided, and has no validation in either form.
    """
    if not 0 < validation_examples(info, shots) < below:
        return 1
    smallest = min(count for count in info.counts["train"] if count)
    return min(MOST_FOLDS, smallest if shots == "full" else shots)


def folds_of_choices(counts: Sequence[int]) -> int:
    """Return in how many folds a method chooses what needs no further training of the network.

    Every labelled example is in a fold where there are less than :data:`FOLD_LABELS` of them; with more there is one
    fold of a fifth, since each of several would take about as long and tell little more. A class with one label cannot
    be divided, so that there is no fold.

    Args:
        counts: Labelled examples of each class.
    """
    if min(counts) < 2:
        return 0
    return min(MOST_FOLDS, *counts) if sum(counts) < FOLD_LABELS else 1
