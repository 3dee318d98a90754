"""One-sided paired tests of all pairs of rows, vectorised: the rows that some other row significantly outperforms.

Each test is that of :func:`tlbench.stats.contrasts.family_contrasts`, or of
:func:`tlbench.stats.contrasts.paired_contrast_across_datasets` for new datasets. Arrays hold all pairs of one row at
once, since the number of pairs grows with the square of the number of rows. Suffixes of names give the axes of arrays:
s strata, r rows, o the other rows of a comparison, v values of a stratum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from tlbench.stats.intervals import ROUNDING, VarianceComponent, independent_strata, satterthwaite
from tlbench.stats.scores import Name, Scores, dataset_means


class Stratum(NamedTuple):
    """Independent values of all rows in one stratum.

    Attributes:
        values_rv: The values (rows, values).
        weight: Weight of the stratum's mean; weights of all strata sum to 1.
    """

    values_rv: NDArray[np.float64]
    weight: float


def dominated_rows(rows: Mapping[Name, Scores], alpha: float, new_datasets: bool = False) -> set[Name]:
    """Return the rows that some other row significantly outperforms in a one-sided paired test.

    Args:
        rows: Score by seed, by (dataset, shots), by row; all rows have the same cells, and at least one.
        alpha: Significance level of a single test.
        new_datasets: Whether the claim is about new datasets, tested by the means of datasets; else about these,
            tested by seeds.
    """
    strata = _datasets(rows) if new_datasets else _seeds(rows)
    if any(stratum.values_rv.shape[1] < 2 for stratum in strata):
        return set()
    largest_dof = np.inf if new_datasets else satterthwaite(map(_pooled, strata)) or np.inf
    means_sr = np.stack([weight * values_rv.mean(1) for values_rv, weight in strata])
    order = np.argsort(-means_sr.sum(0), kind="stable")
    ordered = [Stratum(values_rv[order], weight) for values_rv, weight in strata]
    undominated = np.ones(len(order), dtype=np.bool_)
    for position in range(len(order)):
        # Only a row with a lower mean can be dominated by this one.
        lower = position + 1 + np.flatnonzero(undominated[position + 1 :])
        undominated[lower[_significantly_worse(ordered, position, lower, alpha, largest_dof)]] = False
    names = list(rows)
    return {names[position] for position in order[~undominated]}


def _significantly_worse(
    strata: Sequence[Stratum], best: int, others_o: NDArray[np.intp], alpha: float, largest_dof: float
) -> NDArray[np.bool_]:
    """Return which of the other rows are significantly worse than row ``best``; degrees of freedom are capped."""
    leads = [values_rv[best] - values_rv[others_o] for values_rv, _ in strata]
    weights_s = np.array([weight for _, weight in strata])
    mean_o = weights_s @ np.stack([lead_ov.mean(1) for lead_ov in leads])
    variance_so = weights_s[:, None] ** 2 * np.stack([_variance(lead_ov) / lead_ov.shape[1] for lead_ov in leads])
    variance_o = variance_so.sum(0)
    testable_o = (variance_o > 0) & (mean_o > 0)
    share_so = variance_so / np.where(testable_o, variance_o, 1.0)
    dof_s = np.array([lead_ov.shape[1] - 1 for lead_ov in leads])
    dof_o = 1.0 / np.where(testable_o, (share_so**2 / dof_s[:, None]).sum(0), 1.0)
    t_o = mean_o / np.sqrt(np.where(testable_o, variance_o, 1.0))
    worse_o: NDArray[np.bool_] = testable_o & (stdtr(np.minimum(dof_o, largest_dof), -t_o) < alpha)
    return worse_o


def _variance(lead_ov: NDArray[np.float64]) -> NDArray[np.float64]:
    flat_o = np.ptp(lead_ov, axis=1) <= ROUNDING * np.maximum(np.abs(lead_ov).max(1), 1e-300)
    return np.where(flat_o, 0.0, lead_ov.var(1, ddof=1))


def _seeds(rows: Mapping[Name, Scores]) -> list[Stratum]:
    """Return the strata of seeds (:func:`independent_strata`), shots averaged seed by seed."""
    strata = [independent_strata(scores) for scores in rows.values()]
    shots = {key: count for key, (_, count) in strata[0].items()}
    total = sum(shots.values())
    return [Stratum(np.array([own[key][0] for own in strata]), count / total) for key, count in shots.items()]


def _datasets(rows: Mapping[Name, Scores]) -> list[Stratum]:
    """Return a single stratum, with the mean of each dataset as its values."""
    means = [dataset_means(scores) for scores in rows.values()]
    return [Stratum(np.array([[own[dataset] for dataset in means[0]] for own in means]), 1.0)]


def _pooled(stratum: Stratum) -> VarianceComponent:
    """Return the contribution of a stratum to the variance of a difference, summed over all pairs of rows.

    The squared distances of all pairs are the number of rows times the squared distances from their mean.
    """
    values_rv, weight = stratum
    rows, values = values_rv.shape
    within_rv = values_rv - values_rv.mean(1, keepdims=True)
    between_rv = within_rv - within_rv.mean(0)
    return VarianceComponent(weight**2 * rows * float((between_rv**2).sum()) / (values - 1) / values, values - 1)
