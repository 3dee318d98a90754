"""Agreement of two orderings, and how an ordering changes when a dataset is left out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tlbench.stats.intervals import nested_mean
from tlbench.stats.scores import Name, Scores, common_cells


def kendall_tau(first: Mapping[Name, float], second: Mapping[Name, float]) -> float | None:
    """Return Kendall's tau-b (1945) of two orderings: 1 where they agree, -1 where they are reversed.

    Args:
        first: Value by name.
        second: Value by name; names that only one side has do not count.

    Returns:
        Tau, or None with fewer than two common names or where all values of one side are equal.
    """
    shared = [name for name in first if name in second]
    signs = [_signs([side[name] for name in shared]) for side in (first, second)]
    untied = [float((sign**2).sum()) for sign in signs]
    if not all(untied):
        return None
    return float((signs[0] * signs[1]).sum() / np.sqrt(untied[0] * untied[1]))


def ranks(means: Mapping[Name, float]) -> dict[Name, int]:
    """Return each name's rank by value; the highest value has rank 1, equal values share the better rank."""
    ordered = sorted(means.values())
    return {name: 1 + len(ordered) - bisect_right(ordered, value) for name, value in means.items()}


def leave_one_dataset_out(rows: Mapping[Name, Scores]) -> dict[str, dict[Name, int]]:
    """Return the rows' ranks without one dataset, by the dataset left out.

    Ranks are by the mean over (dataset, shots) on the cells that all rows have.

    Args:
        rows: Score by seed, by (dataset, shots), by row.

    Returns:
        Ranks by name, by dataset; empty with fewer than two common datasets.
    """
    shared = common_cells(rows).rows
    datasets = sorted({dataset for scores in shared.values() for dataset, _ in scores})
    if len(datasets) < 2:
        return {}
    ranks_without = {}
    for left_out in datasets:
        others = {
            name: {stratum: by_seed for stratum, by_seed in scores.items() if stratum[0] != left_out}
            for name, scores in shared.items()
        }
        ranks_without[left_out] = ranks({name: nested_mean(scores).mean for name, scores in others.items()})
    return ranks_without


def _signs(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(np.sign(np.subtract.outer(np.array(values), np.array(values))), dtype=np.float64)
