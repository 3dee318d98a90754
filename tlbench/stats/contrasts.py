"""Paired differences between two methods, on these datasets and on new ones, and Holm's correction for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType

from tlbench.stats.error_mixture import ErrorSource, two_sided_p
from tlbench.stats.intervals import (
    Estimate,
    StratumKey,
    VarianceComponent,
    across_datasets,
    nested_mean,
    satterthwaite,
    variance_components,
    with_interval,
)
from tlbench.stats.moderation import moderated
from tlbench.stats.scores import Name, Scores


@dataclass(frozen=True, slots=True)
class Contrast:
    """A mean paired difference.

    Attributes:
        estimate: The difference (ours minus theirs) with its interval; ``estimate.n`` counts independent values.
        p: Two-sided p-value of "no difference"; None without a standard error, and where a difference does not vary
            at all, neither over seeds nor over test examples, since zero spread is no evidence of precision. Two equal
            rows have p = 1.
        pairs: Number of pairs of cells.
    """

    estimate: Estimate
    p: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class CorrectedContrast:
    """A contrast and its p-value after Holm's correction over its family.

    Attributes:
        contrast: The contrast; None where the two rows share no cell.
        p_holm: The corrected p-value; None where the contrast has none.
    """

    contrast: Contrast | None
    p_holm: float | None


def paired_contrast(
    ours: Scores, theirs: Scores, level: float = 0.95, tests: ErrorSource | None = None
) -> Contrast | None:
    """Compare two methods on the cells that both have: paired by seed, pooled by :func:`nested_mean`.

    The claim is about these datasets.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same samples.
        level: Coverage of the interval.
        tests: Error of the finite test sets; None where it is not known.

    Returns:
        The contrast, or None when they share no cell.
    """
    differences = paired_differences(ours, theirs)
    return _contrast(nested_mean(differences, level, tests), differences) if differences else None


def paired_contrast_across_datasets(ours: Scores, theirs: Scores, level: float = 0.95) -> Contrast | None:
    """Compare two methods as :func:`paired_contrast` does, but for *new* datasets.

    Student's t over the mean difference of each dataset, with one degree of freedom fewer than there are datasets. With
    three to ten seeds, an interval over seeds alone covers the difference on new datasets in fewer than half of all
    cases; this one keeps its coverage.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same samples.
        level: Coverage of the interval.

    Returns:
        The contrast, without interval and p-value for one dataset; None when they share no cell.
    """
    differences = paired_differences(ours, theirs)
    return _contrast(across_datasets(differences, level), differences) if differences else None


def contrasts_by_dataset(
    ours: Scores, theirs: Scores, level: float = 0.95, tests: Mapping[str, ErrorSource | None] = MappingProxyType({})
) -> dict[str, Contrast]:
    """Return :func:`paired_contrast` of each dataset on which both have a common cell.

    Args:
        ours: Score by seed, by (dataset, shots).
        theirs: Score by seed, by (dataset, shots), on the same samples.
        level: Coverage of each interval.
        tests: Error of the finite test set, by dataset; datasets may be missing.
    """
    contrasts: dict[str, Contrast] = {}
    differences = paired_differences(ours, theirs)
    for dataset in dict.fromkeys(dataset for dataset, _ in differences):
        own = {stratum: by_seed for stratum, by_seed in differences.items() if stratum[0] == dataset}
        contrasts[dataset] = _contrast(nested_mean(own, level, tests.get(dataset)), own)
    return contrasts


def family_contrasts(
    pairs: Mapping[Name, tuple[Scores, Scores]],
    rows: int,
    level: float = 0.95,
    tests: Mapping[Name, ErrorSource | None] = MappingProxyType({}),
) -> dict[Name, Contrast | None]:
    """Compare several pairs of rows as :func:`paired_contrast` does, for a correction that needs very small p-values.

    Variances over seeds are moderated within the family (:mod:`tlbench.stats.moderation`): alone, those of three seeds
    have two degrees of freedom, with which no difference survives a correction for dozens of pairs.

    Where one dataset's seeds spread far more than the others', Satterthwaite's degrees of freedom of a contrast are too
    large exactly when that spread is underestimated, hence when the contrast looks significant. At 5% that hardly
    matters; at 5% divided by dozens of pairs it does: with 12 rows, 3 seeds and 6 datasets, one of which spreads 20
    times as far, some contrast of equal methods is "significant" in 41% of suites. So the degrees of freedom of each
    contrast are capped by those of the variances pooled over the whole family, which hardly depend on a single
    contrast.

    Args:
        pairs: Ours and theirs, by name.
        rows: Number of rows that the pairs compare.
        level: Coverage of each interval.
        tests: Error of the finite test sets, by name; names may be missing.

    Returns:
        The contrast of each pair; None where it shares no cell.
    """
    differences = {name: paired_differences(ours, theirs) for name, (ours, theirs) in pairs.items()}
    components = moderated({name: variance_components(each) for name, each in differences.items() if each}, rows)
    pooled: dict[StratumKey, VarianceComponent] = {}
    for key, component in (item for each in components.values() for item in each.items()):
        before = pooled[key].variance if key in pooled else 0.0
        pooled[key] = VarianceComponent(component.variance + before, component.dof)
    contrasts: dict[Name, Contrast | None] = dict.fromkeys(pairs)
    for name, own in components.items():
        estimate = replace(nested_mean(differences[name]), tests=tests.get(name))
        dof, largest_dof = satterthwaite(own.values()), satterthwaite(pooled[key] for key in own)
        if dof is not None and largest_dof is not None:
            error = sum(component.variance for component in own.values()) ** 0.5
            estimate = replace(estimate, error=error, dof=min(dof, largest_dof))
        contrasts[name] = _contrast(with_interval(estimate, level), differences[name])
    return contrasts


def baseline_contrasts(
    rows: Mapping[Name, Scores],
    baseline: Name,
    level: float = 0.95,
    tests: Mapping[Name, ErrorSource | None] = MappingProxyType({}),
) -> dict[Name, CorrectedContrast]:
    """Return each row's contrast with the baseline, the k - 1 p-values corrected by :func:`holm`.

    Args:
        rows: Score by seed, by (dataset, shots), by row.
        baseline: The row that all others are compared with.
        level: Coverage of each interval.
        tests: Error of the finite test sets of each row's difference to the baseline; rows may be missing.

    Raises:
        KeyError: The baseline is not among the rows.
    """
    theirs = rows[baseline]
    pairs = {name: (ours, theirs) for name, ours in rows.items() if name != baseline}
    contrasts = family_contrasts(pairs, len(rows), level, tests)
    adjusted = holm([contrast.p if contrast else None for contrast in contrasts.values()])
    return {name: CorrectedContrast(each, p) for (name, each), p in zip(contrasts.items(), adjusted, strict=True)}


def paired_differences(ours: Scores, theirs: Scores) -> dict[tuple[str, str], dict[int, float]]:
    """Return ours minus theirs, by seed, by (dataset, shots), on the cells that both have; possibly empty."""
    differences = {}
    for stratum, scores in ours.items():
        others = theirs.get(stratum, {})
        shared = scores.keys() & others.keys()
        if shared:
            differences[stratum] = {seed: scores[seed] - others[seed] for seed in sorted(shared)}
    return differences


def reversed_contrast(contrast: Contrast) -> Contrast:
    """Return the same contrast seen from the other side: theirs minus ours."""
    estimate = contrast.estimate
    low = None if estimate.high is None else -estimate.high
    high = None if estimate.low is None else -estimate.low
    return replace(contrast, estimate=replace(estimate, mean=-estimate.mean, low=low, high=high))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust the p-values of one family so that its family-wise error rate is controlled.

    Step-down Bonferroni (Holm 1979): the i-th smallest of m is multiplied by ``m - i + 1``, and no adjusted value
    falls below an earlier one. A p-value of None stays None and does not count into m.
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
    tests = estimate.tests or ErrorSource(0.0)
    if estimate.error == 0.0 and tests.error == 0.0:
        return 1.0 if estimate.mean == 0.0 else None
    seeds = ErrorSource(estimate.error, inf if estimate.dof is None else estimate.dof)
    return two_sided_p(abs(estimate.mean), seeds, tests)
