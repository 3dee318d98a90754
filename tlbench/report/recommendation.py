"""Answers the question that a suite asks: which methods may be the best, and which of them is the cheapest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tlbench.core.errors import UserError, nearest
from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell, by_shots
from tlbench.report.rows.cost import Cost, prices
from tlbench.report.rows.leaderboard import Board, LeaderRow, leaderboard
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.intervals import Estimate
from tlbench.stats.pairwise import not_separable_from_best

_NAMED = 4  # rows that the sentence names
_DATASETS = 3  # fewest datasets for a claim about new ones


@dataclass(frozen=True)
class Candidate:
    """A row that may be the best."""

    method: str
    backbone: str
    accuracy: Estimate
    cost: Cost


@dataclass(frozen=True)
class Recommendation:
    """What the results answer.

    Attributes:
        sentence: The answer in words, with what it rests on.
        best: The rows that may be the best, as far as paired tests can tell; the best mean first. Empty where no row
            can be ranked.
        cheapest: The one of them that is billed the fewest device-seconds, else the fewest trained parameters; None
            where neither is known.
        rows: Complete rows that were compared.
        unranked: Rows that were not, for missing cells or too few seeds; upper bounds never are.
        datasets: What the answer is about.
        shots: Label budgets that the answer is about.
        seeds: Seeds of the poorest compared stratum.
        on_new_datasets: Rows (method, backbone) that may be the best on new datasets; None with fewer than three.
    """

    sentence: str
    best: tuple[Candidate, ...]
    cheapest: Candidate | None
    rows: int
    unranked: int
    datasets: tuple[str, ...]
    shots: tuple[str, ...]
    seeds: int
    on_new_datasets: tuple[tuple[str, str], ...] | None


def recommend(
    cells: Iterable[ComparableCell], dataset: str = "", shots: str = "", level: float = 0.95
) -> Recommendation | None:
    """Answer for a dataset and a label budget.

    Args:
        cells: The cells of one board.
        dataset: A dataset's name; all of the board where it is empty.
        shots: Labels a class, or ``full``; all budgets where it is empty. The nearest one that was measured stands for
            one that was not, and the sentence says so.
        level: Probability with which the best row is among those named.

    Returns:
        The answer, or None without cells.

    Raises:
        UserError: No cell is of that dataset, or the budget is no number of labels.
    """
    asked = list(cells)
    if not asked:
        return None
    names = {cell.dataset for cell in asked}
    if dataset and dataset not in names:
        raise UserError(f"no results on a dataset {dataset!r}", nearest(dataset, names))
    asked = [cell for cell in asked if dataset in ("", cell.dataset)]
    budget = _nearest_budget(shots, {cell.shots for cell in asked}) if shots else ""
    board, *_ = leaderboard([cell for cell in asked if budget in ("", cell.shots)], "")
    stand_in = f" ({budget} is the measured budget nearest to {shots})" if budget != shots else ""
    return answer(board, stand_in, level)


def answer(board: Board, stand_in: str = "", level: float = 0.95) -> Recommendation:
    """Answer for a whole board.

    Args:
        board: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        stand_in: Said of the label budgets, where others were asked for.
        level: Probability with which the best row is among those named.
    """
    rows = {(row.method, row.backbone): row for row in board.ranked}
    scores = {name: row.scores for name, row in rows.items()}
    best = tuple(_candidate(rows[name]) for name in not_separable_from_best(scores, level))
    cheapest = _cheapest(best)
    many = len(board.datasets) >= _DATASETS and bool(rows)
    on_new = not_separable_from_best(scores, level, new_datasets=True) if many else None
    said = _answer(best, cheapest, board) if rows else _silence(board)
    where = text.datasets(board.datasets, _listed(board.datasets))
    return Recommendation(
        sentence=f"On {where}, {_budgets(board.shots)}{stand_in}, {said}{_scope(board, on_new)}.",
        best=best,
        cheapest=cheapest,
        rows=len(rows),
        unranked=len(board.unranked),
        datasets=board.datasets,
        shots=board.shots,
        seeds=min((row.seeds for row in rows.values()), default=0),
        on_new_datasets=on_new,
    )


def _nearest_budget(shots: str, measured: Collection[str]) -> str:
    """Return the measured budget that stands for one asked for: the largest below it, else the smallest."""
    if shots != "full" and not shots.isdecimal():
        raise UserError(f"a label budget is a whole number or full, not {shots!r}")
    below = [each for each in measured if by_shots(each) <= by_shots(shots)]
    return max(below, key=by_shots) if below else min(measured, key=by_shots)


def _candidate(row: LeaderRow) -> Candidate:
    return Candidate(row.method, row.backbone, row.accuracy, row.cost)


def _cheapest(best: Sequence[Candidate]) -> Candidate | None:
    known = [each for each in best if each.cost.device_seconds is not None or each.cost.trainable is not None]
    price = prices([each.cost for each in known])
    return known[price.index(min(price))] if known else None


def _answer(best: Sequence[Candidate], cheapest: Candidate | None, board: Board) -> str:
    name = _namer(board)
    rows = len(board.ranked)
    price = _price(cheapest) if cheapest else ""
    if rows == 1:
        return f"only {name(best[0])} was measured completely, so that it is compared with nothing"
    if len(best) == 1:
        told = f"{name(best[0])} is the best of {rows} rows ({text.percent(best[0].accuracy.mean)}%)"
        return f"{told}, at {price}" if price else told
    shown = ", ".join(f"{name(each)} ({text.percent(each.accuracy.mean)}%)" for each in best[:_NAMED])
    more = f" and {len(best) - _NAMED} more" if len(best) > _NAMED else ""
    which = f"none of {rows} rows" if len(best) == rows else f"{len(best)} of {rows} rows"
    verb = "can" if len(best) == rows else "cannot"
    told = f"{which} {verb} be told from the best: {shown}{more}"
    return f"{told}; the cheapest of them is {name(cheapest)}, at {price}" if cheapest else told


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
    return f"nothing is recommended: none of {len(rows)} rows has all of its cells"


def _scope(board: Board, on_new: Sequence[tuple[str, str]] | None) -> str:
    """Say what the answer rests on, and what it does not say."""
    rows = board.ranked
    if not rows:
        return ""
    seeds = min(row.seeds for row in rows)
    left_out = f"; {text.counted(len(board.unranked), 'incomplete row')} left out" if board.unranked else ""
    told = f" ({seeds} seeds{left_out})"
    if len(rows) == 1:
        return told
    if on_new is None:
        these = "this dataset" if len(board.datasets) == 1 else f"these {len(board.datasets)} datasets"
        return f"{told}; that holds for {these}, new ones may differ"
    return f"{told}; on new datasets of the kind {len(on_new)} of {len(rows)} may be the best"


def _namer(board: Board) -> Callable[[Candidate], str]:
    """Return how a row is named: with its backbone where there are several."""
    several = len({row.backbone for row in board.ranked}) > 1
    return lambda each: f"{each.method} on {each.backbone}" if several else each.method


def _price(candidate: Candidate) -> str:
    cost = candidate.cost
    parts = [
        f"{text.device_seconds(cost.device_seconds, cost.device)} a cell" if cost.device_seconds is not None else "",
        f"{text.count(cost.trainable)} trained parameters" if cost.trainable is not None else "",
        f"{text.size(cost.stored_bytes)} to store a task" if cost.stored_bytes is not None else "",
    ]
    return _listed([part for part in parts if part])


def _budgets(shots: Sequence[str]) -> str:
    if tuple(shots) == ("1",):
        return "with 1 label a class"
    return f"with {_listed(['all' if each == 'full' else each for each in shots])} labels a class"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
