"""The leaderboard: boards of methods on backbones, by their mean over datasets and shots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell, Scores, Stratum, accuracy, bounds, by_shots, grouped, scores
from tlbench.report.environments import Mixture, mixtures
from tlbench.report.rows import baseline as baselines
from tlbench.report.rows.baseline import Baseline
from tlbench.report.rows.cost import Cost, cost
from tlbench.report.rows.differences import Difference, differences
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.contrasts import Contrast, paired_contrast_across_datasets
from tlbench.stats.intervals import Estimate
from tlbench.stats.pairwise import Pairwise, all_pairs, rank_intervals
from tlbench.stats.resolution import resolution_floor
from tlbench.stats.scores import fewest_seeds
from tlbench.stats.wins import Wins, count_wins

Row = tuple[str, str]
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
        expected: Cells that the rows of the board have between them.
        remark: Why the row is below the line; empty above it.
        is_bound: Whether the method saw labels that all others are denied: an upper bound, below the line.
        ranks: Best and worst rank that simultaneous paired intervals leave it; None below the line, and on boards too
            large to hold every row against every other.
        wins: Datasets on which it is better than its baseline by more than the margin, equal, or worse.
        across: The difference as a claim about new datasets; None with fewer than two.
        scores: By (dataset, shots) and seed.
        mixtures: In what the environments of its cells differ.
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
    mixtures: tuple[Mixture, ...] = ()


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
        """Return the protocol and what it was asked on, datasets by number where their names are many or long."""
        return f"{self.protocol}: {text.datasets(self.datasets, ', '.join(self.datasets))}"

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


def leaderboard(cells: Iterable[ComparableCell], baseline: str) -> tuple[Board, ...]:
    """Make the boards: for each protocol, methods on backbones by mean accuracy.

    Every (dataset, shots) weighs the same. Backbones that share no dataset, as those for images and for texts, stand on
    boards of their own. A row that lacks a cell others have, or has a stratum with fewer than
    :data:`tlbench.stats.RANKED_SEEDS` seeds, is listed below the line without a rank. The family of Holm's correction
    is the board. Methods that saw labels which all others are denied stand apart: they have no rank and belong to no
    family, and no other row lacks the cells that only they have.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        baseline: The baseline as the suite names it.
    """
    boards = []
    for _, of_protocol in sorted(grouped(cells, lambda cell: cell.protocol).items()):
        chosen = baselines.find(of_protocol, baseline)
        for datasets in _companies(of_protocol):
            boards.append(_board([cell for cell in of_protocol if cell.dataset in datasets], chosen))
    return tuple(boards)


def _companies(cells: Iterable[ComparableCell]) -> list[set[str]]:
    """Split the datasets into groups that no backbone reaches across."""
    companies: list[set[str]] = []
    for group in grouped(cells, lambda cell: cell.backbone).values():
        joined = {cell.dataset for cell in group}
        for company in [each for each in companies if each & joined]:
            joined |= company
            companies.remove(company)
        companies.append(joined)
    return sorted(companies, key=min)


def _board(cells: Sequence[ComparableCell], chosen: Baseline) -> Board:
    groups = grouped(cells, lambda cell: (cell.method, cell.backbone))
    found = {names: scores(group) for names, group in groups.items()}
    asked = [(method, own, found.get((chosen.label, backbone))) for (method, backbone), own in found.items()]
    above = bounds(cells)
    competing = [cell for cell in cells if cell.method not in above] or cells
    strata = {(cell.dataset, cell.shots) for cell in competing}
    expected = len({(cell.dataset, cell.shots, cell.seed) for cell in competing})
    rows = [
        _row(group, row, difference, chosen, _BOUND if row[0] in above else _below(row[1], strata, expected), expected)
        for group, row, difference in zip(groups.values(), asked, differences(asked, chosen, above), strict=True)
    ]
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


def _row(
    group: Sequence[ComparableCell],
    asked: tuple[str, Scores, Scores | None],
    difference: Difference,
    baseline: Baseline,
    remark: str,
    expected: int,
) -> LeaderRow:
    """Return a row without its rank; ``asked`` is its label, its scores, and those of its baseline."""
    method, ours, theirs = asked
    rival = None if method == baseline.label else theirs
    several = len({dataset for dataset, _ in ours}) > 1
    return LeaderRow(
        rank=None,
        method=method,
        backbone=group[0].backbone,
        is_baseline=method == baseline.label,
        accuracy=accuracy(ours),
        seeds=fewest_seeds(ours),
        difference=difference,
        have=len(group),
        expected=expected,
        remark=remark,
        cost=cost(group),
        is_bound=remark == _BOUND,
        wins=None if rival is None else count_wins(ours, rival),
        across=paired_contrast_across_datasets(ours, rival) if rival is not None and several else None,
        scores=ours,
        mixtures=mixtures(cell.environment for cell in group),
    )


def _below(ours: Scores, strata: AbstractSet[Stratum], expected: int) -> str:
    """Say why a row stands below the line; nothing where it does not."""
    have, missing = sum(map(len, ours.values())), strata - ours.keys()
    if have < expected:
        whole = f", among them {len(missing)} of {len(strata)} combinations of dataset and shots" if missing else ""
        return f"{expected - have} of {expected} cells missing{whole}"
    return f"fewer than {RANKED_SEEDS} seeds" if fewest_seeds(ours) < RANKED_SEEDS else ""


def _comparison(rows: Sequence[LeaderRow]) -> Pairwise[Row] | None:
    """Hold the complete rows against each other, unless they are too many for every pair to be looked at."""
    complete = sorted((row for row in rows if not row.remark), key=lambda row: -row.accuracy.mean)
    if not 2 <= len(complete) <= MOST_COMPARED:
        return None
    return all_pairs({(row.method, row.backbone): row.scores for row in complete})


def _ranked(rows: Iterable[LeaderRow], comparison: Pairwise[Row] | None) -> tuple[LeaderRow, ...]:
    reach = {} if comparison is None else rank_intervals(comparison)
    ordered = sorted(rows, key=lambda row: (bool(row.remark), -row.accuracy.mean, row.method, row.backbone))
    ranked: list[LeaderRow] = []
    for position, row in enumerate(ordered, start=1):
        equal = bool(ranked) and ranked[-1].accuracy.mean == row.accuracy.mean
        rank = ranked[-1].rank if equal else position
        ranked.append(row if row.remark else replace(row, rank=rank, ranks=reach.get((row.method, row.backbone))))
    return tuple(ranked)
