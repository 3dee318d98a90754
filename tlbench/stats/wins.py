"""Number of datasets on which one method is better than another by more than a relevant margin."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.stats.contrasts import paired_differences
from tlbench.stats.scores import Scores, dataset_means

MARGIN = 0.005
"""Largest difference that counts as a tie: half a percentage point."""


@dataclass(frozen=True)
class Wins:
    """Win, tie and loss counts over datasets.

    Attributes:
        win: Number of datasets on which ours is better by more than the margin.
        tie: Number of datasets on which the two differ by the margin at most.
        loss: Number of datasets on which theirs is better by more than the margin.
        margin: Largest difference that counts as a tie, as a fraction of 1.
        differences: Mean paired difference (ours minus theirs) of each dataset.
    """

    win: int
    tie: int
    loss: int
    margin: float
    differences: dict[str, float]


def count_wins(ours: Scores, theirs: Scores, margin: float = MARGIN) -> Wins:
    """Count the datasets on which either method is better, on the cells that both have.

    It compares measured means without any test: a win may be chance, and a tie does not prove equality.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same samples.
        margin: Largest difference that counts as a tie, at least 0.
    """
    differences = dataset_means(paired_differences(ours, theirs))
    tolerance = margin + 1e-12  # a difference equal to the margin up to rounding is a tie
    better = sum(difference > tolerance for difference in differences.values())
    worse = sum(difference < -tolerance for difference in differences.values())
    return Wins(better, len(differences) - better - worse, worse, margin, differences)
