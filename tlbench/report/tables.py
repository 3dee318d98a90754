"""The tables of a report: settings with their intervals and differences, and the leaderboard made of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import TypeVar

from tlbench.report import baseline as baselines
from tlbench.report.baseline import Baseline
from tlbench.report.cells import Measured, by_shots
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.contrasts import Contrast, family, holm, paired, paired_across
from tlbench.stats.intervals import Estimate, nested_mean, pooled_episode_reach
from tlbench.stats.pairwise import Pairwise, all_pairs, rank_intervals
from tlbench.stats.resolution import resolution_floor
from tlbench.stats.wins import Wins, wins

Stratum = tuple[str, str]
Scores = dict[Stratum, dict[int, float]]
Row = tuple[str, str]
Key = TypeVar("Key")
MOST_COMPARED = 40
"""Rows of a board that are held against each other, pair by pair."""
_NAMED = 4  # datasets that a title names
_BOUND = "an upper bound: it sees labels that all others are denied"


@dataclass(frozen=True)
class Cost:
    """What a row's cells took: medians over them, None where nothing was stored.

    Attributes:
        seconds: Wall seconds of a cell.
        trainable: Trained parameters.
        stored_bytes: Bytes to store per task beside a shared backbone.
        peak_memory: Peak bytes.
        share: Trained parameters as a fraction of all.
    """

    seconds: float | None
    trainable: float | None
    stored_bytes: float | None
    peak_memory: float | None
    share: float | None = None


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
class SettingRow:
    """A setting: its cells differ in their seed only. Scores are fractions of 1.

    Attributes:
        episodes: Half-width of the mean over test episodes with the fitted learners held fixed, where a protocol
            stores one.
        macro_f1: Mean over seeds; None where the protocol has none. Likewise ``nll`` (nats) and ``ece``.
        is_bound: Whether the method saw labels that all others are denied: an upper bound.
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


@dataclass(frozen=True)
class LeaderRow:
    """A method on a backbone, averaged over the strata (dataset, shots) of its board.

    Attributes:
        rank: Place by mean accuracy; None below the line.
        seeds: Seeds of the stratum that has fewest.
        have: Cells that the row has.
        expected: Cells that the rows of the board have between them.
        remark: Why the row is below the line; empty above it.
        is_bound: Whether the method saw labels that all others are denied: an upper bound, below the line.
        ranks: Best and worst rank that simultaneous paired intervals leave it; None below the line, and on boards too
            large to hold every row against every other.
        wins: Datasets on which it is better than its baseline by more than the margin, equal, or worse.
        across: The difference as a claim about new datasets; None with fewer than two.
        scores: By (dataset, shots) and seed.
    """

    rank: int | None
    method: str
    backbone: str
    is_baseline: bool
    accuracy: Estimate
    seeds: int
    difference: Difference
    have: int
    expected: int
    remark: str
    cost: Cost
    is_bound: bool = False
    ranks: tuple[int, int] | None = None
    wins: Wins | None = None
    across: Contrast | None = None
    scores: Scores = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Board:
    """Rows that met on the same datasets under one protocol, and may be compared.

    Attributes:
        transductive: Whether an answer may draw on the other queries of its episode; such rows stand apart.
        comparison: The complete rows, each against each, the best mean first; None where they are fewer than two or
            more than :data:`MOST_COMPARED`.
        floor: The smallest true difference to the baseline that so many seeds are likely to show; None where no
            difference has an error.
    """

    protocol: str
    transductive: bool
    datasets: tuple[str, ...]
    shots: tuple[str, ...]
    baseline: Baseline
    rows: tuple[LeaderRow, ...]
    comparison: Pairwise[Row] | None = None
    floor: float | None = None

    @property
    def title(self) -> str:
        """Return the protocol and what it was asked on, datasets by number where they are many."""
        several = len(self.datasets) > _NAMED
        return f"{self.protocol}: {f'{len(self.datasets)} datasets' if several else ', '.join(self.datasets)}"

    @property
    def ranked(self) -> tuple[LeaderRow, ...]:
        """Rows above the line, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def unranked(self) -> tuple[LeaderRow, ...]:
        """Rows below the line: incomplete, or with too few seeds."""
        return tuple(row for row in self.rows if row.rank is None and not row.is_bound)

    @property
    def bounds(self) -> tuple[LeaderRow, ...]:
        """Rows of methods that saw what no other may see."""
        return tuple(row for row in self.rows if row.is_bound)


def settings(cells: Iterable[Measured], baseline: str) -> tuple[SettingRow, ...]:
    """Make one row a setting, by protocol, dataset and shots, best first.

    The family of Holm's correction is one protocol, backbone, dataset and shots: the k - 1 methods beside the baseline.

    Args:
        cells: See :func:`tlbench.report.cells.settle`.
        baseline: The baseline as the suite names it.
    """
    rows: list[SettingRow] = []
    for of_protocol in _grouped(cells, lambda cell: cell.protocol).values():
        chosen = baselines.find(of_protocol, baseline)
        for together in _grouped(of_protocol, lambda cell: (cell.dataset, cell.shots, cell.backbone)).values():
            rows += _setting_rows(together, chosen)
    return tuple(sorted(rows, key=_order))


def _order(row: SettingRow) -> tuple[str, str, float, float, str, str]:
    return row.protocol, row.dataset, by_shots(row.shots), -row.accuracy.mean, row.method, row.backbone


def _setting_rows(together: Sequence[Measured], baseline: Baseline) -> list[SettingRow]:
    groups = _grouped(together, lambda cell: cell.method)
    scores = {method: _scores(group) for method, group in groups.items()}
    theirs = scores.get(baseline.label)
    asked = [(method, ours, theirs) for method, ours in scores.items()]
    differences = _differences(asked, baseline, _bounds(together))
    return [
        SettingRow(
            protocol=group[0].protocol,
            method=method,
            backbone=group[0].backbone,
            dataset=group[0].dataset,
            shots=group[0].shots,
            is_baseline=method == baseline.label,
            accuracy=_accuracy(scores[method]),
            episodes=_pooled(pooled_episode_reach, [cell.reach for cell in group]),
            difference=difference,
            macro_f1=_pooled(fmean, [cell.macro_f1 for cell in group]),
            nll=_pooled(fmean, [cell.nll for cell in group]),
            ece=_pooled(fmean, [cell.ece for cell in group]),
            cost=_cost(group),
            is_bound=group[0].oracle,
        )
        for (method, group), difference in zip(groups.items(), differences, strict=True)
    ]


def leaderboard(cells: Iterable[Measured], baseline: str) -> tuple[Board, ...]:
    """Make the boards: for each protocol, methods on backbones by mean accuracy.

    Every (dataset, shots) weighs the same. Backbones that share no dataset, as those for images and for texts, stand on
    boards of their own. A row that lacks a cell others have, or has a stratum with fewer than
    :data:`tlbench.stats.RANKED_SEEDS` seeds, is listed below the line without a rank. The family of Holm's correction
    is the board. Methods that saw labels which all others are denied stand apart: they have no rank and belong to no
    family, and no other row lacks the cells that only they have.

    Args:
        cells: See :func:`tlbench.report.cells.settle`.
        baseline: The baseline as the suite names it.
    """
    boards = []
    for _, of_protocol in sorted(_grouped(cells, lambda cell: cell.protocol).items()):
        chosen = baselines.find(of_protocol, baseline)
        for datasets in _companies(of_protocol):
            boards.append(_board([cell for cell in of_protocol if cell.dataset in datasets], chosen))
    return tuple(boards)


def _companies(cells: Iterable[Measured]) -> list[set[str]]:
    """Split the datasets into groups that no backbone reaches across."""
    companies: list[set[str]] = []
    for group in _grouped(cells, lambda cell: cell.backbone).values():
        joined = {cell.dataset for cell in group}
        for company in [each for each in companies if each & joined]:
            joined |= company
            companies.remove(company)
        companies.append(joined)
    return sorted(companies, key=min)


def _board(cells: Sequence[Measured], chosen: Baseline) -> Board:
    groups = _grouped(cells, lambda cell: (cell.method, cell.backbone))
    scores = {names: _scores(group) for names, group in groups.items()}
    asked = [(method, own, scores.get((chosen.label, backbone))) for (method, backbone), own in scores.items()]
    bounds = _bounds(cells)
    competing = [cell for cell in cells if cell.method not in bounds] or cells
    expected = len({(cell.dataset, cell.shots, cell.seed) for cell in competing})
    strata = {(cell.dataset, cell.shots) for cell in competing}
    rows: list[LeaderRow] = []
    differences = _differences(asked, chosen, bounds)
    for ((method, backbone), own), difference in zip(scores.items(), differences, strict=True):
        group = groups[method, backbone]
        seeds = min(map(len, own.values()))
        row = LeaderRow(
            rank=None,
            method=method,
            backbone=backbone,
            is_baseline=method == chosen.label,
            accuracy=_accuracy(own),
            seeds=seeds,
            difference=difference,
            have=len(group),
            expected=expected,
            remark=_BOUND if method in bounds else _below(len(group), expected, strata - own.keys(), strata, seeds),
            cost=_cost(group),
            is_bound=method in bounds,
            wins=_wins(method, own, scores.get((chosen.label, backbone)), chosen),
            across=_across(method, own, scores.get((chosen.label, backbone)), chosen),
            scores=own,
        )
        rows.append(row)
    comparison = _comparison(rows)
    return Board(
        protocol=cells[0].protocol,
        transductive=cells[0].transductive,
        datasets=tuple(sorted({dataset for dataset, _ in strata})),
        shots=tuple(sorted({shots for _, shots in strata}, key=by_shots)),
        baseline=chosen,
        rows=_ranked(rows, comparison),
        comparison=comparison,
        floor=resolution_floor(row.difference.contrast for row in rows if not row.remark),
    )


def _below(have: int, expected: int, missing: Collection[Stratum], strata: Collection[Stratum], seeds: int) -> str:
    if have < expected:
        whole = f", among them {len(missing)} of {len(strata)} combinations of dataset and shots" if missing else ""
        return f"{expected - have} of {expected} cells missing{whole}"
    return f"fewer than {RANKED_SEEDS} seeds" if seeds < RANKED_SEEDS else ""


def _comparison(rows: Sequence[LeaderRow]) -> Pairwise[Row] | None:
    """Hold the complete rows against each other, unless they are too many for every pair to be looked at."""
    complete = sorted((row for row in rows if not row.remark), key=lambda row: -row.accuracy.mean)
    if not 2 <= len(complete) <= MOST_COMPARED:
        return None
    return all_pairs({(row.method, row.backbone): row.scores for row in complete})


def _wins(label: str, ours: Scores, theirs: Scores | None, baseline: Baseline) -> Wins | None:
    return None if theirs is None or label == baseline.label else wins(ours, theirs)


def _across(label: str, ours: Scores, theirs: Scores | None, baseline: Baseline) -> Contrast | None:
    if theirs is None or label == baseline.label or len({dataset for dataset, _ in ours}) < 2:
        return None
    return paired_across(ours, theirs)


def _ranked(rows: Iterable[LeaderRow], comparison: Pairwise[Row] | None) -> tuple[LeaderRow, ...]:
    reach = {} if comparison is None else rank_intervals(comparison)
    ordered = sorted(rows, key=lambda row: (bool(row.remark), -row.accuracy.mean, row.method, row.backbone))
    ranked: list[LeaderRow] = []
    for position, row in enumerate(ordered, start=1):
        equal = bool(ranked) and ranked[-1].accuracy.mean == row.accuracy.mean
        rank = ranked[-1].rank if equal else position
        ranked.append(row if row.remark else replace(row, rank=rank, ranks=reach.get((row.method, row.backbone))))
    return tuple(ranked)


def _bounds(cells: Iterable[Measured]) -> set[str]:
    """Return the methods that saw labels which all others are denied."""
    return {cell.method for cell in cells if cell.oracle}


def _differences(
    asked: Sequence[tuple[str, Scores, Scores | None]], baseline: Baseline, bounds: Collection[str]
) -> list[Difference]:
    """Compare each (label, its scores, its baseline's scores) of one family, and correct the p-values.

    Upper bounds do not compete: they are compared, but not tested.
    """
    pairs = {place: (ours, theirs) for place, (_, ours, theirs) in enumerate(asked) if theirs is not None}
    competing = {place: pair for place, pair in pairs.items() if asked[place][0] not in (baseline.label, *bounds)}
    contrasts = {place: paired(*pair) for place, pair in pairs.items()} | family(competing)
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


def _grouped(cells: Iterable[Measured], key: Callable[[Measured], Key]) -> dict[Key, list[Measured]]:
    groups: dict[Key, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return groups


def _scores(group: Iterable[Measured]) -> Scores:
    scores: Scores = {}
    for cell in group:
        scores.setdefault((cell.dataset, cell.shots), {})[cell.seed] = cell.accuracy
    return scores


def _accuracy(scores: Scores) -> Estimate:
    return nested_mean(scores).clipped(0.0, 1.0)


def _pooled(pool: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return pool(known) if len(known) == len(values) else None


def _cost(group: Sequence[Measured]) -> Cost:
    return Cost(
        seconds=_median(cell.seconds for cell in group),
        trainable=_median(cell.trainable for cell in group),
        stored_bytes=_median(cell.stored_bytes for cell in group),
        peak_memory=_median(cell.peak_memory for cell in group),
        share=_median(
            cell.trainable / cell.total if cell.total and cell.trainable is not None else None for cell in group
        ),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
