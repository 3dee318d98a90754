"""One row a setting: its cells differ in their seed only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

from tlbench.plugins.metrics import USUAL
from tlbench.report.comparable_cells import ComparableCell, accuracy, bounds, by_shots, grouped, scores
from tlbench.report.example_scores import unit_scores
from tlbench.report.metric_text import MetricText, metric_text
from tlbench.report.rows import baseline as baselines
from tlbench.report.rows.baseline import Baseline
from tlbench.report.rows.cost import Cost, cost
from tlbench.report.rows.differences import Difference, RowToCompare, differences
from tlbench.stats.intervals import Estimate, pooled_episode_half_width
from tlbench.store.mlflow.record_artifact import RecordDetails


@dataclass(frozen=True)
class SettingRow:
    """A setting. Scores are fractions of 1.

    Attributes:
        episodes: Half-width of the mean over test episodes with the fitted learners held fixed, where a protocol
            stores one.
        macro_f1: Mean over seeds; None where the protocol has none. Likewise ``nll`` (nats) and ``ece``.
        is_bound: Whether the method saw labels that all others are denied: an upper bound.
        metric: Name of the metric that the score is of; larger is better, so that losses are negative.
    """

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    is_baseline: bool
    accuracy: Estimate
    episodes: float | None
    difference: Difference
    macro_f1: float | None
    nll: float | None
    ece: float | None
    cost: Cost
    is_bound: bool = False
    metric: str = USUAL

    @property
    def told(self) -> MetricText:
        """How its score is told."""
        return metric_text(self.metric)


def settings(
    cells: Iterable[ComparableCell], baseline: str, details: Mapping[str, RecordDetails] = MappingProxyType({})
) -> tuple[SettingRow, ...]:
    """Make one row a setting, by protocol, dataset and shots, best first.

    The family of Holm's correction is one protocol, backbone, dataset and shots: the k - 1 methods beside the baseline.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        baseline: The baseline as the suite names it.
        details: What the records hold, by cell: with their answers, intervals contain the error of the test set.
    """
    rows: list[SettingRow] = []
    for of_protocol in grouped(cells, lambda cell: cell.protocol).values():
        chosen = baselines.find(of_protocol, baseline)
        for together in grouped(of_protocol, lambda cell: (cell.dataset, cell.shots, cell.backbone)).values():
            rows += _rows(together, chosen, details)
    return tuple(sorted(rows, key=_order))


def _order(row: SettingRow) -> tuple[str, str, float, float, str, str]:
    return row.protocol, row.dataset, by_shots(row.shots), -row.accuracy.mean, row.method, row.backbone


def _rows(
    together: Sequence[ComparableCell], baseline: Baseline, details: Mapping[str, RecordDetails]
) -> list[SettingRow]:
    groups = grouped(together, lambda cell: cell.method)
    found = {method: scores(group) for method, group in groups.items()}
    units = {method: unit_scores(group, details) for method, group in groups.items()}
    theirs = found.get(baseline.label), units.get(baseline.label, {})
    compared = [RowToCompare(method, ours, theirs[0], units[method], theirs[1]) for method, ours in found.items()]
    return [
        SettingRow(
            protocol=group[0].protocol,
            method=method,
            backbone=group[0].backbone,
            dataset=group[0].dataset,
            shots=group[0].shots,
            is_baseline=method == baseline.label,
            accuracy=accuracy(found[method], units[method], group[0].metric),
            episodes=_pooled(pooled_episode_half_width, [cell.reach for cell in group]),
            difference=difference,
            macro_f1=_pooled(fmean, [cell.macro_f1 for cell in group]),
            nll=_pooled(fmean, [cell.nll for cell in group]),
            ece=_pooled(fmean, [cell.ece for cell in group]),
            cost=cost(group),
            is_bound=group[0].oracle,
            metric=group[0].metric,
        )
        for (method, group), difference in zip(
            groups.items(), differences(compared, baseline, bounds(together)), strict=True
        )
    ]


def _pooled(pool: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return pool(known) if len(known) == len(values) else None
