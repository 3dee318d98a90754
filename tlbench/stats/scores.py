"""A row's scores, the cells that several rows have in common, and how scores are averaged by dataset."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, TypeVar

Scores = Mapping[tuple[str, str], Mapping[int, float]]
"""Score by seed, by (dataset, shots), as fractions of 1."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Common(Generic[Name]):
    """Rows cut down to the cells that every one of them has; a missing cell is never imputed.

    Attributes:
        rows: Their scores there.
        cells: Number of common cells.
        left_out: Cells of each row that some other row lacks.
    """

    rows: dict[Name, Scores]
    cells: int
    left_out: dict[Name, int]


def common_cells(rows: Mapping[Name, Scores]) -> Common[Name]:
    """Return the rows on the cells (dataset, shots, seed) that all of them have, which may be none."""
    cells = [{(stratum, seed) for stratum, by_seed in scores.items() for seed in by_seed} for scores in rows.values()]
    shared = set.intersection(*cells) if cells else set()
    kept: dict[Name, Scores] = {}
    for name, scores in rows.items():
        cut = {
            stratum: {seed: score for seed, score in by_seed.items() if (stratum, seed) in shared}
            for stratum, by_seed in scores.items()
        }
        kept[name] = {stratum: by_seed for stratum, by_seed in cut.items() if by_seed}
    left_out = {name: len(own) - len(shared) for name, own in zip(rows, cells, strict=True)}
    return Common(kept, len(shared), left_out)


def dataset_means(scores: Scores) -> dict[str, float]:
    """Return the mean over seeds, then over shots, of each dataset."""
    by_shots: dict[str, list[float]] = {}
    for (dataset, _), by_seed in scores.items():
        by_shots.setdefault(dataset, []).append(fmean(by_seed.values()))
    return {dataset: fmean(means) for dataset, means in by_shots.items()}


def fewest_seeds(scores: Scores) -> int:
    """Return the number of seeds of the stratum (dataset, shots) that has fewest; 0 without scores.

    A row is ranked where it is at least :data:`tlbench.stats.RANKED_SEEDS`.
    """
    return min(map(len, scores.values()), default=0)
