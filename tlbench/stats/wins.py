"""On how many datasets one method is better than another by more than a margin that matters."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.stats.contrasts import paired_differences
from tlbench.stats.scores import Scores, dataset_means

MARGIN = 0.005


@dataclass(frozen=True)
class Wins:
    """Datasets by who is better there.

    Attributes:
        win: Datasets on which ours is better by more than the margin.
        tie: Datasets on which the two differ by the margin at most.
        loss: Datasets on which theirs is better by more than the margin.
        margin: Half a point of 100 unless said otherwise, as a fraction of 1.
        differences: Mean paired difference (ours minus theirs) of each dataset.
    """

    win: int
    tie: int
    loss: int
    margin: float
    differences: dict[str, float]


def wins(ours: Scores, theirs: Scores, margin: float = MARGIN) -> Wins:
    """Count datasets by who is better, on the cells that both have.

    It counts means as they were measured and tests nothing: a win may be chance, and a tie is no proof of equality.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same draws.
        margin: Largest difference that counts as none, at least 0.
    """
    differences = dataset_means(paired_differences(ours, theirs))
    reach = margin + 1e-12  # a difference of the margin itself, but for rounding, is within it
    better = sum(difference > reach for difference in differences.values())
    worse = sum(difference < -reach for difference in differences.values())
    return Wins(better, len(differences) - better - worse, worse, margin, differences)
