"""Which of many rows are beaten by another: the tests of all pairs in arrays, since pairs grow with the square of rows.

Each test is that of :func:`tlbench.stats.contrasts.family`, or of :func:`tlbench.stats.contrasts.paired_across`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from tlbench.stats.intervals import ROUNDING, Part, blocks, satterthwaite
from tlbench.stats.scores import Name, Scores, dataset_means


class Stratum(NamedTuple):
    """Independent values that rows have in common: (rows, values), and what the stratum weighs; weights sum to 1."""

    values_rv: NDArray[np.float64]
    weight: float


def beaten(rows: Mapping[Name, Scores], alarm: float, new_datasets: bool = False) -> set[Name]:
    """Return the rows that some other row beats in a one-sided paired test.

    Args:
        rows: Score by seed, by (dataset, shots), by row; all rows have the same cells, and at least one.
        alarm: Level of a test.
        new_datasets: Whether new datasets are meant, tested by the means of datasets; else these, tested by seeds.
    """
    strata = _datasets(rows) if new_datasets else _seeds(rows)
    if any(stratum.values_rv.shape[1] < 2 for stratum in strata):
        return set()
    most = np.inf if new_datasets else satterthwaite(map(_pooled, strata)) or np.inf
    means_sr = np.stack([weight * values_rv.mean(1) for values_rv, weight in strata])
    order = np.argsort(-means_sr.sum(0), kind="stable")
    ordered = [Stratum(values_rv[order], weight) for values_rv, weight in strata]
    stands = np.ones(len(order), dtype=np.bool_)
    for place in range(len(order)):
        lower = place + 1 + np.flatnonzero(stands[place + 1 :])  # only a better mean beats
        stands[lower[_loses(ordered, place, lower, alarm, most)]] = False
    names = list(rows)
    return {names[place] for place in order[~stands]}


def _loses(
    strata: Sequence[Stratum], best: int, others_o: NDArray[np.intp], alarm: float, most: float
) -> NDArray[np.bool_]:
    """Say which of the others lose to one row; their degrees of freedom are held down to ``most``."""
    leads = [values_rv[best] - values_rv[others_o] for values_rv, _ in strata]
    weights_s = np.array([weight for _, weight in strata])
    mean_o = weights_s @ np.stack([lead_ov.mean(1) for lead_ov in leads])
    variance_so = weights_s[:, None] ** 2 * np.stack([_variance(lead_ov) / lead_ov.shape[1] for lead_ov in leads])
    variance_o = variance_so.sum(0)
    known_o = (variance_o > 0) & (mean_o > 0)
    share_so = variance_so / np.where(known_o, variance_o, 1.0)
    freedom_s = np.array([lead_ov.shape[1] - 1 for lead_ov in leads])
    dof_o = 1.0 / np.where(known_o, (share_so**2 / freedom_s[:, None]).sum(0), 1.0)
    t_o = mean_o / np.sqrt(np.where(known_o, variance_o, 1.0))
    lost_o: NDArray[np.bool_] = known_o & (stdtr(np.minimum(dof_o, most), -t_o) < alarm)
    return lost_o


def _variance(lead_ov: NDArray[np.float64]) -> NDArray[np.float64]:
    flat_o = np.ptp(lead_ov, axis=1) <= ROUNDING * np.maximum(np.abs(lead_ov).max(1), 1e-300)
    return np.where(flat_o, 0.0, lead_ov.var(1, ddof=1))


def _seeds(rows: Mapping[Name, Scores]) -> list[Stratum]:
    """Return a stratum a dataset and seeds, the shots averaged seed by seed."""
    found = [blocks(scores) for scores in rows.values()]
    shots = {block: count for block, (_, count) in found[0].items()}
    total = sum(shots.values())
    return [Stratum(np.array([own[block][0] for own in found]), count / total) for block, count in shots.items()]


def _datasets(rows: Mapping[Name, Scores]) -> list[Stratum]:
    """Return one stratum, of a value a dataset."""
    found = [dataset_means(scores) for scores in rows.values()]
    return [Stratum(np.array([[own[dataset] for dataset in found[0]] for own in found]), 1.0)]


def _pooled(stratum: Stratum) -> Part:
    """Return what a stratum adds to the variance of a difference, summed over all pairs of rows.

    The squared distances of all pairs are the number of rows times the squared distances from their mean.
    """
    values_rv, weight = stratum
    rows, values = values_rv.shape
    within_rv = values_rv - values_rv.mean(1, keepdims=True)
    apart_rv = within_rv - within_rv.mean(0)
    return Part(weight**2 * rows * float((apart_rv**2).sum()) / (values - 1) / values, values - 1)
