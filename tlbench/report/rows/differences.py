"""The paired differences of a family of rows to their baseline, and why a row has none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from tlbench.report.comparable_cells import Scores
from tlbench.report.rows.baseline import Baseline
from tlbench.stats.contrasts import Contrast, family_contrasts, holm, paired_contrast
from tlbench.stats.finite_test_set import UnitScores
from tlbench.stats.pairwise import pair_error


@dataclass(frozen=True)
class Difference:
    """A row's paired difference to the baseline of its backbone.

    Attributes:
        contrast: The difference as a fraction of 1; None where there is nothing to compare.
        p_holm: Its p-value, corrected for all differences of the same family.
        remark: Why there is no difference, or what it lacks; empty where it is whole.
    """

    contrast: Contrast | None
    p_holm: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class RowToCompare:
    """A row and its baseline.

    Attributes:
        label: Of the row's method.
        ours: Its scores.
        theirs: Those of its baseline; None where there are none.
        our_units: Scores of its test examples.
        their_units: Those of its baseline.
    """

    label: str
    ours: Scores
    theirs: Scores | None
    our_units: UnitScores = field(default_factory=dict)
    their_units: UnitScores = field(default_factory=dict)


def differences(rows: Sequence[RowToCompare], baseline: Baseline, bounds: Collection[str]) -> list[Difference]:
    """Compare the rows of one family with their baselines, and correct the p-values.

    Args:
        rows: The rows of the family.
        baseline: The baseline of them all.
        bounds: Labels of upper bounds: they are compared, but do not compete, hence are not tested.
    """
    pairs = {place: (row.ours, row.theirs) for place, row in enumerate(rows) if row.theirs is not None}
    errors = {place: pair_error(*both, rows[place].our_units, rows[place].their_units) for place, both in pairs.items()}
    competing = {place: pair for place, pair in pairs.items() if rows[place].label not in (baseline.label, *bounds)}
    contrasts = {place: paired_contrast(*pair, tests=errors[place]) for place, pair in pairs.items()}
    contrasts |= family_contrasts(competing, len(competing) + 1, tests=errors)
    found = [_difference(row, baseline, contrasts.get(place)) for place, row in enumerate(rows)]
    tested = [None if row.label in bounds else each.contrast for each, row in zip(found, rows, strict=True)]
    adjusted = holm([contrast.p if contrast else None for contrast in tested])
    return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def _difference(row: RowToCompare, baseline: Baseline, contrast: Contrast | None) -> Difference:
    if baseline.absence:
        return Difference(None, remark=baseline.absence)
    if row.label == baseline.label:
        return Difference(None, remark="baseline")
    if row.theirs is None:
        return Difference(None, remark=f"{baseline.label} has no result here")
    if contrast is None:
        return Difference(None, remark=f"no dataset, shots and seed in common with {baseline.label}")
    missing = sum(map(len, row.ours.values())) - contrast.pairs
    if contrast.estimate.error is None:
        return Difference(contrast, remark="too few seeds for an interval")
    if contrast.p is None:
        return Difference(contrast, remark="the same for every seed: no test")
    return Difference(contrast, remark=f"{missing} cells without a partner" if missing else "")
