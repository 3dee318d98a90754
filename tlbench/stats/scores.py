"""The scores of a row, the cells that several rows have in common, and means by dataset."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, TypeVar

Scores = Mapping[tuple[str, str], Mapping[int, float]]
"""Score by seed, by (dataset, shots), as fractions of 1."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class CommonCells(Generic[Name]):
    """Rows restricted to the cells that every one of them has; a missing cell is never imputed.

    Attributes:
        rows: Scores on the common cells, by row.
        cells: Number of common cells.
        left_out: Number of cells of each row that some other row lacks.
    """

    rows: dict[Name, Scores]
    cells: int
    left_out: dict[Name, int]


def common_cells(rows: Mapping[Name, Scores]) -> CommonCells[Name]:
    """Return the rows on the cells (dataset, shots, seed) that all of them have; possibly no cell."""
    cells = [{(stratum, seed) for stratum, by_seed in scores.items() for seed in by_seed} for scores in rows.values()]
    shared = set.intersection(*cells) if cells else set()
    restricted: dict[Name, Scores] = {}
    for name, scores in rows.items():
        common = {
            stratum: {seed: score for seed, score in by_seed.items() if (stratum, seed) in shared}
            for stratum, by_seed in scores.items()
        }
        restricted[name] = {stratum: by_seed for stratum, by_seed in common.items() if by_seed}
    left_out = {name: len(own) - len(shared) for name, own in zip(rows, cells, strict=True)}
    return CommonCells(restricted, len(shared), left_out)


def dataset_means(scores: Scores) -> dict[str, float]:
    """Return the mean over seeds, then over shots, of each dataset."""
    by_shots: dict[str, list[float]] = {}
    for (dataset, _), by_seed in scores.items():
        by_shots.setdefault(dataset, []).append(fmean(by_seed.values()))
    return {dataset: fmean(means) for dataset, means in by_shots.items()}


def fewest_seeds(scores: Scores) -> int:
    """Return the smallest number of seeds of any stratum (dataset, shots); 0 without scores.

    A row is ranked if it is at least :data:`tlbench.stats.RANKED_SEEDS`.
    """
    return min(map(len, scores.values()), default=0)
