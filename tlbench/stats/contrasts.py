"""Paired differences between two methods, on these datasets and on new ones, and Holm's correction for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtr

from tlbench.stats.intervals import (
    Block,
    Estimate,
    Part,
    across_datasets,
    nested_mean,
    satterthwaite,
    variance_parts,
    with_dof,
)
from tlbench.stats.scores import Name, Scores


@dataclass(frozen=True, slots=True)
class Contrast:
    """A mean paired difference.

    Attributes:
        estimate: The difference (ours minus theirs) with its interval; ``estimate.n`` counts independent ones.
        p: Two-sided p-value of "no difference"; None without a standard error, and where a difference does not vary
            over seeds at all, since no spread is no evidence of precision. Two equal rows have p = 1.
        pairs: Number of pairs of cells.
    """

    estimate: Estimate
    p: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Corrected:
    """A contrast and its p-value, corrected for all contrasts of its family; None where there is none."""

    contrast: Contrast | None
    p_holm: float | None


def paired(ours: Scores, theirs: Scores, level: float = 0.95) -> Contrast | None:
    """Compare two methods on the cells that both have: paired by seed, pooled as :func:`nested_mean` pools.

    It is a claim about these datasets.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same draws.
        level: Coverage of the interval.

    Returns:
        The contrast, or None when they share no cell.
    """
    differences = paired_differences(ours, theirs)
    return _contrast(nested_mean(differences, level), differences) if differences else None


def paired_across(ours: Scores, theirs: Scores, level: float = 0.95) -> Contrast | None:
    """Compare two methods as :func:`paired` does, but for *new* datasets: Student's t over each dataset's difference.

    Over three to ten seeds an interval that knows of seeds alone covers what new datasets show in fewer than half of
    all cases; this one has one degree of freedom fewer than there are datasets, and holds.

    Returns:
        The contrast, without interval and p-value for one dataset; None when they share no cell.
    """
    differences = paired_differences(ours, theirs)
    return _contrast(across_datasets(differences, level), differences) if differences else None


def by_dataset(ours: Scores, theirs: Scores, level: float = 0.95) -> dict[str, Contrast]:
    """Return :func:`paired` of each dataset on which they share a cell."""
    found: dict[str, Contrast] = {}
    differences = paired_differences(ours, theirs)
    for dataset in dict.fromkeys(dataset for dataset, _ in differences):
        own = {stratum: by_seed for stratum, by_seed in differences.items() if stratum[0] == dataset}
        found[dataset] = _contrast(nested_mean(own, level), own)
    return found


def family(pairs: Mapping[Name, tuple[Scores, Scores]], level: float = 0.95) -> dict[Name, Contrast | None]:
    """Compare several pairs of rows as :func:`paired` does, fit for a correction that asks for very small p-values.

    Where one dataset's seeds spread far more than the others', Satterthwaite's degrees of freedom of a contrast are too
    large just when that spread is underrated, hence when the contrast looks significant. At 5% that hardly matters,
    at 5% divided by dozens of pairs it does: with 12 rows, 3 seeds and 6 datasets, one of which spreads 20 times as
    far, some contrast of equal methods is "significant" in 41% of suites. So no contrast has more degrees of freedom
    than the variances pooled over the whole family give, which do not hang on it: at most 5% then, for a loss of about
    a tenth of the degrees of freedom where datasets are alike.

    Args:
        pairs: Ours and theirs, by name.
        level: Coverage of each interval.

    Returns:
        The contrast of each pair; None where it shares no cell.
    """
    differences = {name: paired_differences(ours, theirs) for name, (ours, theirs) in pairs.items()}
    parts = {name: variance_parts(each) for name, each in differences.items() if each}
    pooled: dict[Block, Part] = {}
    for block, part in (item for each in parts.values() for item in each.items()):
        pooled[block] = Part(part.variance + (pooled[block].variance if block in pooled else 0.0), part.freedom)
    found: dict[Name, Contrast | None] = dict.fromkeys(pairs)
    for name, own in parts.items():
        estimate = nested_mean(differences[name], level)
        most = satterthwaite(pooled[block] for block in own)
        if estimate.dof is not None and most is not None:
            estimate = with_dof(estimate, min(estimate.dof, most), level)
        found[name] = _contrast(estimate, differences[name])
    return found


def against(rows: Mapping[Name, Scores], baseline: Name, level: float = 0.95) -> dict[Name, Corrected]:
    """Return each row's contrast with the baseline as a :func:`family`, its k - 1 p-values corrected by :func:`holm`.

    Raises:
        KeyError: The baseline is none of the rows.
    """
    theirs = rows[baseline]
    contrasts = family({name: (ours, theirs) for name, ours in rows.items() if name != baseline}, level)
    adjusted = holm([contrast.p if contrast else None for contrast in contrasts.values()])
    return {name: Corrected(each, p) for (name, each), p in zip(contrasts.items(), adjusted, strict=True)}


def paired_differences(ours: Scores, theirs: Scores) -> dict[tuple[str, str], dict[int, float]]:
    """Return ours minus theirs on the cells that both have, which may be none."""
    differences = {}
    for stratum, scores in ours.items():
        others = theirs.get(stratum, {})
        shared = scores.keys() & others.keys()
        if shared:
            differences[stratum] = {seed: scores[seed] - others[seed] for seed in sorted(shared)}
    return differences


def mirrored(contrast: Contrast) -> Contrast:
    """Return the same contrast seen from the other side: theirs minus ours."""
    estimate = contrast.estimate
    low = None if estimate.high is None else -estimate.high
    high = None if estimate.low is None else -estimate.low
    return replace(contrast, estimate=replace(estimate, mean=-estimate.mean, low=low, high=high))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust the p-values of one family so that a false alarm anywhere in it keeps its nominal rate.

    Step-down Bonferroni (Holm 1979): the i-th smallest of m is multiplied by ``m - i + 1``, and no adjusted value
    falls below an earlier one. Contrasts without a p-value make no claim, stay None, and do not count into m.
    """
    order = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for rank, (p, position) in enumerate(order):
        floor = max(floor, min(1.0, p * (len(order) - rank)))
        adjusted[position] = floor
    return tuple(adjusted)


def _contrast(estimate: Estimate, differences: Scores) -> Contrast:
    return Contrast(estimate, _p_value(estimate), sum(map(len, differences.values())))


def _p_value(estimate: Estimate) -> float | None:
    if estimate.error is None:
        return None
    if estimate.error == 0.0 or estimate.dof is None:
        return 1.0 if estimate.mean == 0.0 else None
    return float(2.0 * stdtr(estimate.dof, -abs(estimate.mean) / estimate.error))
