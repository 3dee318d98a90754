"""A comparison in words, for a terminal."""

from __future__ import annotations

from tlbench.report import number_format as text
from tlbench.report.comparison.selections import Comparison, DatasetComparison, ProtocolComparison
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.contrasts import Contrast

_LONG = 40  # letters of a dataset's name from which it has a line of its own


def selections_text(comparison: Comparison) -> str:
    """Return a comparison as lines for a terminal."""
    return "\n\n".join("\n".join(_lines(each)) for each in comparison.protocols)


def _lines(found: ProtocolComparison) -> list[str]:
    shared = found.datasets
    where = "this dataset" if len(shared) == 1 else f"these {len(shared)} datasets"
    lines = [
        f"{found.protocol}: {found.ours} against {found.theirs}",
        f"  {_verdict(found)} on {where}: {_difference(found.on_these_datasets)}",
    ]
    if found.on_new_datasets is not None:
        lines.append(f"  on new datasets of the kind: {_difference(found.on_new_datasets)}")
    if len(shared) > 1:
        counts = found.wins
        lines.append(
            f"  better on {counts.win}, equal on {counts.tie}, worse on {counts.loss} of {len(shared)} datasets, "
            f"where less than {100 * counts.margin:.2g} points count as equal"
        )
    lines += [line for each in shared for line in _dataset_lines(each, alone=len(shared) == 1)]
    lines.append(
        f"  from {text.counted(found.pairs, 'pair')} of cells; the first has {found.cells[0]}, "
        f"the second {found.cells[1]}; {text.counted(found.seeds, 'seed')}"
    )
    return lines + [f"  note: {note}" for note in found.notes]


def _verdict(found: ProtocolComparison) -> str:
    p = found.on_these_datasets.p
    if found.seeds < RANKED_SEEDS or p is None:
        return "measured difference"
    if p >= 0.05:
        return "not separable"
    return "better" if found.on_these_datasets.estimate.mean > 0 else "worse"


def _difference(contrast: Contrast) -> str:
    estimate = contrast.estimate
    interval = "no interval" if estimate.low is None else f"95% interval {text.points_interval(estimate)}"
    p = "" if contrast.p is None else f", p {p_value_text(contrast.p)}"
    return f"{text.points(estimate.mean)} points ({interval}{p})"


def _dataset_lines(each: DatasetComparison, alone: bool) -> list[str]:
    """Tell of one dataset; where it is the only one, its difference has been told."""
    means = f"{text.percent(each.ours)}% against {text.percent(each.theirs)}%"
    p = "" if each.p_holm is None else f", p {p_value_text(each.p_holm)} (Holm)"
    gap = f", {text.points(each.contrast.estimate.mean)} ({text.points_interval(each.contrast.estimate)}{p})"
    numbers = means if alone else f"{means}{gap}: {each.verdict}"
    long = len(each.dataset) > _LONG
    lines = [f"  {each.dataset}", f"    {numbers}"] if long else [f"  {each.dataset}: {numbers}"]
    if each.examples is not None:
        counts = each.examples.counts
        exact = "" if counts.p is None else f" (of these two models exact p {p_value_text(counts.p)})"
        lines.append(
            f"    of {counts.units} test units {counts.better} for the first, {counts.worse} for the second{exact}; "
            f"the test set alone leaves {100 * each.examples.error:.1f} points of error"
        )
    return lines


def p_value_text(p: float) -> str:
    """Return a p-value with its sign: ``= 0.03``, ``<0.001``."""
    numbersp = text.p_value(p)
    return numbersp if numbersp.startswith("<") else f"= {numbersp}"
