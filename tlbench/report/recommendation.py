"""Answers the question that a suite asks: which method is the best, or which cheaper one may be taken in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

from tlbench.report import number_format as text
from tlbench.report.rows.cost import prices
from tlbench.report.rows.leaderboard import Board, LeaderRow, Row
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.pairwise import Pairwise, not_separable_from_best
from tlbench.stats.resolution import seeds_needed

MARGIN = 0.01
"""Loss of accuracy, as a fraction of 1, that a cheaper row may have at most to be taken in place of the best mean."""
_NAMED = 2  # rows that the sentence names beside the leader
_DATASETS = 3  # fewest datasets for a claim about new ones


@dataclass(frozen=True)
class Recommendation:
    """What a board answers.

    Attributes:
        sentence: The answer in words, with what it rests on.
        leader: The row with the best mean; None where no row can be ranked.
        is_best: Whether the leader is better than each other row by all pairwise verdicts; so its rank interval is 1.
        rivals: Rows that are not significantly worse than the leader, the best mean first.
        within_margin: Cheaper rows shown to be at most the margin worse than the leader, the cheapest first.
        choice: The row to take: the first of ``within_margin``, else the leader.
        needed: The cheaper row that could be shown to be within the margin with the fewest seeds, and that number; None
            where there is one already, or where no number of seeds is expected to be enough.
        on_new_datasets: Rows that may be the best on new datasets; None with fewer than three.
    """

    sentence: str
    leader: LeaderRow | None = None
    is_best: bool = False
    rivals: tuple[LeaderRow, ...] = ()
    within_margin: tuple[LeaderRow, ...] = ()
    choice: LeaderRow | None = None
    needed: tuple[LeaderRow, int] | None = None
    on_new_datasets: tuple[Row, ...] | None = None


def answer(board: Board, margin: float = MARGIN) -> Recommendation:
    """Answer for a board.

    A row that is not significantly worse than the leader may still be far worse, so that nothing is recommended for
    want of significance. A cheaper row is recommended where its simultaneous lower bound against the leader lies above
    minus the margin (non-inferiority; Piaggio et al. 2012, "Reporting of noninferiority and equivalence randomized
    trials", JAMA 308). The bounds are those of all pairs, so that they hold whichever row leads, and agree with the
    intervals of ranks.

    Args:
        board: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        margin: See :data:`MARGIN`.
    """
    where = f"On {text.datasets(board.datasets, _listed(board.datasets))}, {_budgets(board.shots)}"
    rows = {(row.method, row.backbone): row for row in board.ranked}
    if not rows:
        return Recommendation(f"{where}, {_silence(board)}.")
    leader, *others = rows.values()
    name = _namer(board)
    if not others or board.against_leader is None:
        told = f"only {name(leader)} was measured completely, so that it is compared with nothing"
        return Recommendation(f"{where}, {told}{_scope(board, None)}.", leader, choice=leader)
    pairs = board.against_leader
    verdicts = {(row.method, row.backbone): _verdict(pairs, leader, row) for row in others}
    price = dict(zip(rows, prices([row.cost for row in rows.values()]), strict=True))
    cheaper = [rows[each] for each in sorted(rows, key=price.__getitem__) if price[each] < price[next(iter(rows))]]
    within = tuple(row for row in cheaper if _lower_bound(pairs, row, leader) > -margin)
    needed = None if within else _needed(pairs, cheaper, leader, margin)
    scores = {each: row.scores for each, row in rows.items()}
    found = Recommendation(
        sentence="",
        leader=leader,
        is_best=all(verdict == 1 for verdict in verdicts.values()),
        rivals=tuple(rows[each] for each, verdict in verdicts.items() if verdict != 1),
        within_margin=within,
        choice=within[0] if within else leader,
        needed=needed,
        on_new_datasets=not_separable_from_best(scores, new_datasets=True)
        if len(board.datasets) >= _DATASETS
        else None,
    )
    told = f"{_standing(found, board, name)}; {_advice(found, cheaper, board, name, margin)}"
    return replace(found, sentence=f"{where}, {told}{_scope(board, found.on_new_datasets)}.")


def _verdict(pairs: Pairwise[Row], leader: LeaderRow, row: LeaderRow) -> int:
    pair = pairs.pairs.get(((leader.method, leader.backbone), (row.method, row.backbone)))
    return 0 if pair is None else pair.verdict


def _lower_bound(pairs: Pairwise[Row], row: LeaderRow, leader: LeaderRow) -> float:
    """Return the simultaneous lower bound of a row's mean minus the leader's; minus infinity where there is none."""
    pair = pairs.pairs.get(((row.method, row.backbone), (leader.method, leader.backbone)))
    low = None if pair is None or pair.p is None else pair.contrast.estimate.low
    return -inf if low is None else low


def _needed(
    pairs: Pairwise[Row], cheaper: Sequence[LeaderRow], leader: LeaderRow, margin: float
) -> tuple[LeaderRow, int] | None:
    found = []
    for row in cheaper:
        pair = pairs.pairs.get(((row.method, row.backbone), (leader.method, leader.backbone)))
        seeds = None if pair is None else seeds_needed(pair.contrast.estimate, row.seeds, margin, pairs.tests)
        if seeds is not None:
            found.append((row, seeds))
    return min(found, key=lambda each: each[1], default=None)


def _standing(found: Recommendation, board: Board, name: Callable[[LeaderRow], str]) -> str:
    """Say who leads, and whether that is beyond doubt; with the row that the advice names, three at most."""
    assert found.leader is not None
    led = f"{name(found.leader)} {_mean(found.leader, board)}"
    if found.is_best:
        return f"{led} is the best of {_counted(board)}"
    advised = found.within_margin[0] if found.within_margin else found.needed[0] if found.needed else None
    room = _NAMED if advised is None or advised in found.rivals[:_NAMED] else _NAMED - 1
    shown = [f"{name(row)} {_mean(row, board)}" for row in found.rivals[:room]]
    more = len(found.rivals) - len(shown)
    rivals = _listed([*shown, f"{more} more"] if more else shown)
    return (
        f"{text.counted(_seeds(board), 'seed')} cannot tell which of {_counted(board)} is best: {led} has the best "
        f"mean, but {rivals} may be as good"
    )


def _advice(
    found: Recommendation,
    cheaper: Sequence[LeaderRow],
    board: Board,
    name: Callable[[LeaderRow], str],
    margin: float,
) -> str:
    """Say which row to take."""
    assert found.choice is not None
    assert found.leader is not None
    points = _points(margin)
    if found.within_margin:
        return (
            f"the cheapest that is shown to lose less than {points} to {name(found.leader)} is {name(found.choice)} "
            f"{_mean(found.choice, board)}{_at(found.choice)}"
        )
    take = f"take {name(found.choice)}{_at(found.choice)}"
    if not cheaper:
        return f"it is also the cheapest{_at(found.choice)}" if found.is_best else f"no row is cheaper: {take}"
    if found.is_best and found.needed is None:
        return f"no cheaper row comes within {points}: {take}"
    seeds = text.counted(_seeds(board), "seed")
    if found.needed is None:
        return f"{seeds} cannot support a cheaper choice within {points}, nor would more: {take}"
    row, number = found.needed
    return (
        f"{seeds} cannot support a cheaper choice within {points} (about {number} would be "
        f"expected to, for {name(row)}): {take}"
    )


def _seeds(board: Board) -> int:
    return min(row.seeds for row in board.ranked)


def _counted(board: Board) -> str:
    """Return the number of rows in words: methods, where all have one backbone."""
    rows = board.ranked
    return f"{len(rows)} {'methods' if len({row.backbone for row in rows}) == 1 else 'rows'}"


def _points(margin: float) -> str:
    points = f"{100 * margin:g}"
    return f"{points} point" if points == "1" else f"{points} points"


def _mean(row: LeaderRow, board: Board) -> str:
    return f"({board.told.score(row.accuracy.mean)}{'%' * board.told.in_percent})"


def _silence(board: Board) -> str:
    """Say why nothing is recommended."""
    rows = board.unranked
    if not rows:
        return "only upper bounds were measured, which see labels that all others are denied: nothing is recommended"
    few = sum(row.have == row.expected for row in rows)
    if few:
        return (
            f"nothing is recommended: {few} of {len(rows)} rows are complete but have fewer than {RANKED_SEEDS} seeds, "
            "which cannot tell methods apart"
        )
    return f"nothing is recommended yet: none of {len(rows)} rows has all of its cells"


def _scope(board: Board, on_new: Sequence[Row] | None) -> str:
    """Say what the answer rests on, and what it does not say."""
    rows, seeds = board.ranked, _seeds(board)
    left_out = f"; {text.counted(len(board.unranked), 'incomplete row')} left out" if board.unranked else ""
    told = f" ({seeds} seeds{left_out})"
    if len(rows) == 1:
        return told
    if on_new is None:
        these = "this dataset" if len(board.datasets) == 1 else f"these {len(board.datasets)} datasets"
        return f"{told}; that holds for {these}, new ones may differ"
    return f"{told}; on new datasets of the kind {len(on_new)} of {len(rows)} may be the best"


def _namer(board: Board) -> Callable[[LeaderRow], str]:
    """Return how a row is named: with its backbone where there are several."""
    several = len({row.backbone for row in board.ranked}) > 1
    return lambda row: f"{row.method} on {row.backbone}" if several else row.method


def _at(row: LeaderRow) -> str:
    """Return what a cell of a row takes, by the first measure that is known; the leaderboard has the others."""
    cost = row.cost
    if cost.device_seconds is not None:
        return f", at {text.device_seconds(cost.device_seconds, cost.device)} a cell"
    if cost.trainable is not None:
        return f", with {text.count(cost.trainable)} trained parameters"
    return f", with {text.size(cost.stored_bytes)} to store a task" if cost.stored_bytes is not None else ""


def _budgets(shots: Sequence[str]) -> str:
    """Return the label budgets in words: ``with 1 and 5 labels a class, and with all labels``."""
    numbers = [each for each in shots if each not in ("0", "full")]
    parts = ["without labels"] if "0" in shots else []
    if numbers:
        parts.append(f"with {_listed(numbers)} {'label' if numbers == ['1'] else 'labels'} a class")
    if "full" in shots:
        parts.append("with all labels")
    return ", and ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
