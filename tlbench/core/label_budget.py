"""What part of a label budget is for validation, and in how many folds a search validates where that part is small."""

from __future__ import annotations

from tlbench.core.info import DatasetInfo, Shots

VAL_OF_SHOTS = 0.2
"""Part of each class's shots that is for validation, at least one example; a single shot has none."""
VAL_OF_FULL = 0.1
"""Part of each class that is for validation where all examples are labelled and the source holds none out."""
FOLDS = 5
"""Folds of a search, fewer where a class has fewer labelled examples (Kohavi 1995, IJCAI, compares numbers of them)."""


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
    return min(FOLDS, smallest if shots == "full" else shots)
