"""A comparison in words, for a terminal."""

from __future__ import annotations

from tlbench.report import number_format as text
from tlbench.report.comparison.selections import Comparison, OnDataset, Versus
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.contrasts import Contrast

_LONG = 40  # letters of a dataset's name from which it has a line of its own


def told(comparison: Comparison) -> str:
    """Return a comparison as lines for a terminal."""
    return "\n\n".join("\n".join(_lines(each)) for each in comparison.versus)


def _lines(versus: Versus) -> list[str]:
    shared = versus.datasets
    where = "this dataset" if len(shared) == 1 else f"these {len(shared)} datasets"
    lines = [
        f"{versus.protocol}: {versus.ours} against {versus.theirs}",
        f"  {_verdict(versus)} on {where}: {_difference(versus.these)}",
    ]
    if versus.new is not None:
        lines.append(f"  on new datasets of the kind: {_difference(versus.new)}")
    if len(shared) > 1:
        counts = versus.wins
        lines.append(
            f"  better on {counts.win}, equal on {counts.tie}, worse on {counts.loss} of {len(shared)} datasets, "
            f"where less than {100 * counts.margin:.2g} points count as equal"
        )
    lines += [line for each in shared for line in _dataset_lines(each, alone=len(shared) == 1)]
    lines.append(
        f"  from {text.counted(versus.pairs, 'pair')} of cells; the first has {versus.cells[0]}, "
        f"the second {versus.cells[1]}; {text.counted(versus.seeds, 'seed')}"
    )
    return lines + [f"  note: {note}" for note in versus.notes]


def _verdict(versus: Versus) -> str:
    p = versus.these.p
    if versus.seeds < RANKED_SEEDS or p is None:
        return "measured difference"
    if p >= 0.05:
        return "not separable"
    return "better" if versus.these.estimate.mean > 0 else "worse"


def _difference(contrast: Contrast) -> str:
    estimate = contrast.estimate
    interval = "no interval" if estimate.low is None else f"95% interval {text.points_interval(estimate)}"
    p = "" if contrast.p is None else f", p {said(contrast.p)}"
    return f"{text.points(estimate.mean)} points ({interval}{p})"


def _dataset_lines(each: OnDataset, alone: bool) -> list[str]:
    """Tell of one dataset; where it is the only one, its difference has been told."""
    means = f"{text.percent(each.ours)}% against {text.percent(each.theirs)}%"
    p = "" if each.p_holm is None else f", p {said(each.p_holm)} (Holm)"
    gap = f", {text.points(each.contrast.estimate.mean)} ({text.points_interval(each.contrast.estimate)}{p})"
    numbers = means if alone else f"{means}{gap}: {each.verdict}"
    long = len(each.dataset) > _LONG
    lines = [f"  {each.dataset}", f"    {numbers}"] if long else [f"  {each.dataset}: {numbers}"]
    if each.examples is not None:
        test = each.examples.test
        lines.append(
            f"    of {test.tests} test units {test.better} for the first, {test.worse} for the second "
            f"(exact p {said(test.p)}); the test set alone leaves {100 * each.examples.error:.1f} points of error"
        )
    return lines


def said(p: float) -> str:
    """Return a p-value with its sign: ``= 0.03``, ``<0.001``."""
    numbersp = text.p_value(p)
    return numbersp if numbersp.startswith("<") else f"= {numbersp}"
