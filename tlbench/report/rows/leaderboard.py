"""The leaderboard: boards of methods on backbones, by their mean over datasets and shots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tlbench.plugins.metrics import USUAL
from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell, Scores, Stratum, accuracy, bounds, by_shots, grouped, scores
from tlbench.report.environments import Mixture, mixtures
from tlbench.report.example_scores import unit_scores
from tlbench.report.metric_text import MetricText, metric_text
from tlbench.report.planned import PlannedCell
from tlbench.report.planned import Row as PlannedRow
from tlbench.report.rows import baseline as baselines
from tlbench.report.rows.baseline import Baseline
from tlbench.report.rows.blocks import Block, blocks
from tlbench.report.rows.cost import Cost, cost
from tlbench.report.rows.differences import Difference, RowToCompare, differences
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.contrasts import Contrast, paired_contrast_across_datasets
from tlbench.stats.finite_test_set import UnitScores
from tlbench.stats.intervals import Estimate
from tlbench.stats.pairwise import Pairwise, all_pairs, pairs_with, rank_intervals
from tlbench.stats.resolution import resolution_floor
from tlbench.stats.scores import fewest_seeds
from tlbench.stats.wins import Wins, count_wins
from tlbench.store.mlflow.record_artifact import RecordDetails

Row = tuple[str, str]
"""A method and a backbone, by their labels."""
MOST_COMPARED = 40
"""Rows of a board that are held against each other, pair by pair."""
_BOUND = "an upper bound: it sees labels that all others are denied"


@dataclass(frozen=True)
class LeaderRow:
    """A method on a backbone, averaged over the strata (dataset, shots) of its board.

    Attributes:
        rank: Place by mean accuracy; None below the line.
        seeds: Seeds of the stratum that has fewest.
        have: Cells that the row has.
        expected: Cells of the board's strata that were planned for the row.
        remark: Why the row is below the line; empty above it.
        is_bound: Whether the method saw labels that all others are denied: an upper bound, below the line.
        ranks: Best and worst rank that simultaneous paired intervals leave it; None below the line, and on boards too
            large to hold every row against every other.
        wins: Datasets on which it is better than its baseline by more than the margin, equal, or worse.
        across: The difference as a claim about new datasets; None with fewer than two.
        scores: By (dataset, shots) and seed.
        units: Scores of test examples, by (dataset, shots) and seed, as far as they were stored.
        mixtures: In what the environments of its cells differ.
        method_label: The method with all that differs from the defaults, which its name may leave out.
        backbone_label: The same of the backbone.
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
    units: UnitScores = field(default_factory=dict, repr=False)
    mixtures: tuple[Mixture, ...] = ()
    method_label: str = ""
    backbone_label: str = ""

    @property
    def in_full(self) -> str:
        """The row with all that its names may leave out."""
        return " on ".join(filter(None, (self.method_label, self.backbone_label)))


@dataclass(frozen=True)
class Board:
    """Rows that were planned on the same strata under one protocol, and may be compared.

    Attributes:
        transductive: Whether an answer may draw on the other queries of its episode; such rows stand apart.
        strata: The (dataset, shots) that all rows were planned on.
        comparison: The complete rows, each against each, the best mean first; None where they are fewer than two or
            more than :data:`MOST_COMPARED`.
        against_leader: The same of the row with the best mean against each other; None where there is no other.
        floor: The smallest true difference to the baseline that so many seeds are likely to show; None where no
            difference has an error.
        metric: Name of the metric that its scores are of.
        names_shots: Whether the title names the shots, because another board differs in nothing else.
    """

    protocol: str
    transductive: bool
    datasets: tuple[str, ...]
    shots: tuple[str, ...]
    baseline: Baseline
    rows: tuple[LeaderRow, ...]
    strata: frozenset[Stratum] = frozenset()
    comparison: Pairwise[Row] | None = None
    against_leader: Pairwise[Row] | None = None
    floor: float | None = None
    names_shots: bool = False
    metric: str = USUAL

    @property
    def title(self) -> str:
        """Return the protocol and what it was asked on, datasets by number where their names are many or long."""
        shots = f", {', '.join(self.shots)} shots" if self.names_shots else ""
        return f"{self.protocol}: {text.datasets(self.datasets, ', '.join(self.datasets))}{shots}"

    @property
    def told(self) -> MetricText:
        """How its scores are told."""
        return metric_text(self.metric)

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


def leaderboard(
    cells: Iterable[ComparableCell],
    baseline: str,
    details: Mapping[str, RecordDetails] = MappingProxyType({}),
    planned: Mapping[PlannedRow, AbstractSet[PlannedCell]] | None = None,
) -> tuple[Board, ...]:
    """Make the boards: for each protocol, methods on backbones by mean accuracy.

    A board is a block: rows that were planned on the same strata (dataset, shots), and these strata; grids that differ
    in their datasets or shots give several. Every stratum weighs the same. A row that lacks a cell that was planned
    for it, or has a stratum with fewer than :data:`tlbench.stats.RANKED_SEEDS` seeds, is listed below the line without
    a rank. The family of Holm's correction is the board. Methods that saw labels which all others are denied stand
    apart: they have no rank and belong to no family, and no other row lacks the cells that only they have.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        baseline: The baseline as the suite names it.
        details: What the records hold, by cell: with their answers, intervals contain the error of the test sets.
        planned: Cells that the suite asks for, by row (:func:`tlbench.report.planned.planned_cells`); where no plan was
            stored, of a stratum on which a row has a result, the seeds that any row has there.
    """
    boards = []
    for protocol, of_protocol in sorted(grouped(cells, lambda cell: cell.protocol).items()):
        chosen = baselines.find(of_protocol, baseline)
        plan = _plan_of(protocol, of_protocol, planned)
        above = bounds(of_protocol)
        for block in blocks({row: own.keys() for row, own in plan.items() if row[0] not in above} or plan):
            board = _board(block, of_protocol, plan, chosen, details)
            boards += [board] if board.rows else []
    titles = Counter(board.title for board in boards)
    return tuple(replace(board, names_shots=titles[board.title] > 1) for board in boards)


def _plan_of(
    protocol: str, cells: Sequence[ComparableCell], planned: Mapping[PlannedRow, AbstractSet[PlannedCell]] | None
) -> dict[Row, dict[Stratum, frozenset[int]]]:
    """Return the seeds by stratum, by row, of rows with a result."""
    above = bounds(cells)
    seeds: dict[Stratum, set[int]] = {}
    for cell in [each for each in cells if each.method not in above] or cells:
        seeds.setdefault((cell.dataset, cell.shots), set()).add(cell.seed)
    plan: dict[Row, dict[Stratum, frozenset[int]]] = {}
    for (method, backbone), group in grouped(cells, lambda cell: (cell.method, cell.backbone)).items():
        asked: dict[Stratum, set[int]] = {}
        for dataset, shots, seed in () if planned is None else planned.get((protocol, method, backbone), ()):
            asked.setdefault((dataset, shots), set()).add(seed)
        measured = {(cell.dataset, cell.shots): seeds.get((cell.dataset, cell.shots), set()) for cell in group}
        plan[method, backbone] = {key: frozenset(own) for key, own in (asked or measured).items()}
    return plan


def _board(
    block: Block[Row],
    of_protocol: Sequence[ComparableCell],
    plan: Mapping[Row, Mapping[Stratum, frozenset[int]]],
    chosen: Baseline,
    details: Mapping[str, RecordDetails],
) -> Board:
    above = bounds(of_protocol)
    cells = [
        cell
        for cell in of_protocol
        if (cell.dataset, cell.shots) in block.strata
        and ((cell.method, cell.backbone) in block.rows or cell.method in above)
    ]
    groups = grouped(cells, lambda cell: (cell.method, cell.backbone))
    found = {names: scores(group) for names, group in groups.items()}
    units = {names: unit_scores(group, details) for names, group in groups.items()}
    compared = [
        RowToCompare(
            method, own, found.get((chosen.label, backbone)), units[method, backbone],
            units.get((chosen.label, backbone), {}),
        )
        for (method, backbone), own in found.items()
    ]  # fmt: skip
    expected = {row: {key: plan[row].get(key, frozenset()) for key in block.strata} for row in groups}
    rows = [
        _row(groups[row], ours, difference, chosen, _BOUND if row[0] in above else _below(ours.ours, expected[row]),
             sum(map(len, expected[row].values())))
        for row, ours, difference in zip(groups, compared, differences(compared, chosen, above), strict=True)
    ]  # fmt: skip
    comparison, against_leader = _comparison(rows)
    return Board(
        protocol=of_protocol[0].protocol,
        transductive=of_protocol[0].transductive,
        datasets=tuple(sorted({dataset for dataset, _ in block.strata})),
        shots=tuple(sorted({shots for _, shots in block.strata}, key=by_shots)),
        baseline=chosen,
        rows=_ranked(rows, comparison),
        strata=block.strata,
        comparison=comparison,
        against_leader=against_leader,
        metric=of_protocol[0].metric,
        floor=resolution_floor(row.difference.contrast for row in rows if not row.remark),
    )


def _row(
    group: Sequence[ComparableCell],
    row: RowToCompare,
    difference: Difference,
    baseline: Baseline,
    remark: str,
    expected: int,
) -> LeaderRow:
    """Return a row without its rank."""
    rival = None if row.label == baseline.label else row.theirs
    several = len({dataset for dataset, _ in row.ours}) > 1
    return LeaderRow(
        rank=None,
        method=row.label,
        backbone=group[0].backbone,
        is_baseline=row.label == baseline.label,
        accuracy=accuracy(row.ours, row.our_units, group[0].metric),
        seeds=fewest_seeds(row.ours),
        difference=difference,
        have=len(group),
        expected=expected,
        remark=remark,
        cost=cost(group),
        is_bound=remark == _BOUND,
        wins=None if rival is None else count_wins(row.ours, rival),
        across=paired_contrast_across_datasets(row.ours, rival) if rival is not None and several else None,
        scores=row.ours,
        units=row.our_units,
        mixtures=mixtures(cell.environment for cell in group),
        method_label=group[0].method_label,
        backbone_label=group[0].backbone_label,
    )


def _below(ours: Scores, expected: Mapping[Stratum, frozenset[int]]) -> str:
    """Say why a row stands below the line; nothing where it does not."""
    missing = {key: len(seeds - ours.get(key, {}).keys()) for key, seeds in expected.items()}
    if lacking := sum(missing.values()):
        empty = [key for key in expected if not ours.get(key)]
        whole = f", among them {len(empty)} of {len(expected)} combinations of dataset and shots" if empty else ""
        return f"{lacking} of {sum(map(len, expected.values()))} cells missing{whole}"
    return f"fewer than {RANKED_SEEDS} seeds" if fewest_seeds(ours) < RANKED_SEEDS else ""


def _comparison(rows: Sequence[LeaderRow]) -> tuple[Pairwise[Row] | None, Pairwise[Row] | None]:
    """Hold the complete rows against each other, and the leader against each; many rows only against the leader."""
    complete = sorted((row for row in rows if not row.remark), key=lambda row: -row.accuracy.mean)
    if len(complete) < 2:
        return None, None
    found = {(row.method, row.backbone): row.scores for row in complete}
    units = {(row.method, row.backbone): row.units for row in complete}
    if len(complete) > MOST_COMPARED:
        return None, pairs_with(next(iter(found)), found, units=units)
    pairwise = all_pairs(found, units=units)
    return pairwise, pairwise


def _ranked(rows: Iterable[LeaderRow], comparison: Pairwise[Row] | None) -> tuple[LeaderRow, ...]:
    reach = {} if comparison is None else rank_intervals(comparison)
    ordered = sorted(rows, key=lambda row: (bool(row.remark), -row.accuracy.mean, row.method, row.backbone))
    ranked: list[LeaderRow] = []
    for position, row in enumerate(ordered, start=1):
        equal = bool(ranked) and ranked[-1].accuracy.mean == row.accuracy.mean
        rank = ranked[-1].rank if equal else position
        ranked.append(row if row.remark else replace(row, rank=rank, ranks=reach.get((row.method, row.backbone))))
    return tuple(ranked)
