"""The paired differences of a family of rows to their baseline, and why a row has none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tlbench.report.comparable_cells import Scores
from tlbench.report.rows.baseline import Baseline
from tlbench.stats.contrasts import Contrast, family_contrasts, holm, paired_contrast


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


def differences(
    asked: Sequence[tuple[str, Scores, Scores | None]], baseline: Baseline, bounds: Collection[str]
) -> list[Difference]:
    """Compare the rows of one family with their baselines, and correct the p-values.

    Args:
        asked: Of each row its label, its scores, and its baseline's scores where there are any.
        baseline: The baseline of them all.
        bounds: Labels of upper bounds: they are compared, but do not compete, hence are not tested.
    """
    pairs = {place: (ours, theirs) for place, (_, ours, theirs) in enumerate(asked) if theirs is not None}
    competing = {place: pair for place, pair in pairs.items() if asked[place][0] not in (baseline.label, *bounds)}
    contrasts = {place: paired_contrast(*pair) for place, pair in pairs.items()} | family_contrasts(competing)
    found = [_difference(row, baseline, contrasts.get(place)) for place, row in enumerate(asked)]
    tested = [None if label in bounds else each.contrast for each, (label, _, _) in zip(found, asked, strict=True)]
    adjusted = holm([contrast.p if contrast else None for contrast in tested])
    return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def _difference(row: tuple[str, Scores, Scores | None], baseline: Baseline, contrast: Contrast | None) -> Difference:
    label, ours, theirs = row
    if baseline.absence:
        return Difference(None, remark=baseline.absence)
    if label == baseline.label:
        return Difference(None, remark="baseline")
    if theirs is None:
        return Difference(None, remark=f"{baseline.label} has no result here")
    if contrast is None:
        return Difference(None, remark=f"no dataset, shots and seed in common with {baseline.label}")
    missing = sum(map(len, ours.values())) - contrast.pairs
    if contrast.estimate.error is None:
        return Difference(contrast, remark="too few seeds for an interval")
    if contrast.p is None:
        return Difference(contrast, remark="the same for every seed: no test")
    return Difference(contrast, remark=f"{missing} cells without a partner" if missing else "")
