"""The rows of a board ranked twice: by the validator of the suite, and by one of another kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tlbench.report.comparable_cells import ComparableCell, grouped
from tlbench.report.rows.leaderboard import Board
from tlbench.report.sections._adaptation_marks import optimised
from tlbench.stats.orderings import kendall_tau, ranks
from tlbench.stats.validators import KINDS, counterpart

Row = tuple[str, str]


@dataclass(frozen=True)
class RankedTwice:
    """A method on a backbone: its accuracy and rank under both validators, over datasets and shots of equal weight.

    Attributes:
        accuracy: Mean test accuracies of the models that each of the two chose, as fractions of 1.
        ranks: Ranks by these; equal ones share the better rank.
        optimised: Those of the two that the method's training maximises.
    """

    method: str
    backbone: str
    accuracy: tuple[float, float]
    ranks: tuple[int, int]
    optimised: frozenset[str]


@dataclass(frozen=True)
class TwoRankings:
    """A board's rows under two validators of different kinds.

    Attributes:
        title: The board's.
        key: Protocol and datasets of the board.
        validators: The one that ranks, and the other.
        rows: Rows that have results on all datasets and shots, in the order of the first.
        tau: Kendall's tau-b of the two orders; None with fewer than two rows or where all are equal.
    """

    title: str
    key: tuple[str, tuple[str, ...]]
    validators: tuple[str, str]
    rows: tuple[RankedTwice, ...]
    tau: float | None

    @property
    def leaders(self) -> tuple[Row, Row]:
        """The first row under each."""
        first, second = (min(self.rows, key=lambda row: row.ranks[place]) for place in (0, 1))
        return (first.method, first.backbone), (second.method, second.backbone)

    @property
    def optimising(self) -> frozenset[Row]:
        """Rows whose training maximises the validator by which they are ranked."""
        return frozenset((row.method, row.backbone) for row in self.rows if self.validators[0] in row.optimised)

    @property
    def sentence(self) -> str:
        """By what the rows are ranked, and whether a validator of another kind agrees."""
        by, other = (name.replace("_", " ") for name in self.validators)
        ranked = f"Ranked by the models that {by} chose, without a label of the target ({KINDS[self.validators[0]]})."
        instead = f"By {other} ({KINDS[self.validators[1]]})"
        if all(row.ranks[0] == row.ranks[1] for row in self.rows):
            return f"{ranked} {instead} the order is the same."
        first, second = self.leaders
        lead = "the leader is the same" if first == second else f"{second[0]} on {second[1]} leads"
        agreement = "" if self.tau is None else f" (Kendall's tau {self.tau:.2f})"
        return f"{ranked} {instead} {lead} and the order differs{agreement}: see adaptation."


def two_rankings(boards: Iterable[Board], cells: Iterable[ComparableCell]) -> tuple[TwoRankings, ...]:
    """Return the two rankings of each board whose models were chosen by validators.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        cells: What they were made of.
    """
    of_row = grouped(cells, lambda cell: (cell.protocol, cell.method, cell.backbone))
    found = []
    for board in boards:
        groups = {
            (row.method, row.backbone): [
                cell for cell in of_row[board.protocol, row.method, row.backbone] if cell.dataset in board.datasets
            ]
            for row in board.rows
            if not row.is_bound
        }
        ranking = next((cell.validator for group in groups.values() for cell in group), "")
        if ranking in KINDS and (rankings := _rankings(board, groups, (ranking, counterpart(ranking)))) is not None:
            found.append(rankings)
    return tuple(found)


def _rankings(
    board: Board, groups: Mapping[Row, Sequence[ComparableCell]], names: tuple[str, str]
) -> TwoRankings | None:
    """Return the rankings of the rows that have results under both names everywhere; None where they are under two."""
    strata = {(cell.dataset, cell.shots) for group in groups.values() for cell in group}
    means: tuple[dict[Row, float], dict[Row, float]] = {}, {}
    for row, group in groups.items():
        by_stratum = grouped(group, lambda cell: (cell.dataset, cell.shots))
        if by_stratum.keys() == strata and all(name in cell.choices for cell in group for name in names):
            for mean, name in zip(means, names, strict=True):
                mean[row] = fmean(fmean(cell.choices[name] for cell in cells) for cells in by_stratum.values())
    if len(means[0]) < 2:
        return None
    first, second = map(ranks, means)
    rows = [
        RankedTwice(
            *row,
            accuracy=(means[0][row], means[1][row]),
            ranks=(first[row], second[row]),
            optimised=optimised(groups[row][0].method_name) & set(names),
        )
        for row in sorted(first, key=lambda row: (first[row], row))
    ]
    return TwoRankings(board.title, (board.protocol, board.datasets), names, tuple(rows), kendall_tau(*means))
