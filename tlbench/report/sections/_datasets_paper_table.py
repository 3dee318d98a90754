"""The table of a paper: a row a method on a backbone, a column a dataset and number of shots, mean ± SD over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import by_shots
from tlbench.report.rows.leaderboard import Board, LeaderRow
from tlbench.report.table import Bold, Table, TablePart, Value
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.pairwise import not_separable_from_best
from tlbench.stats.scores import common_cells

Place = tuple[str, str]
_WIDE = 6  # columns that still fit on a page
_MOST_TESTED = 24  # rows among which the best of a column is looked for, pair by pair
_NOTE = (
    "Mean ± standard deviation over seeds, in percent. Bold: the best mean of the column. †: not separable from the "
    f"best at the 5% level, among the {_MOST_TESTED} best means at most, on the seeds that they share."
)


def paper_table(boards: Iterable[Board]) -> Table:
    """Return one record a row, dataset and number of shots; and one table a board, split by shots where it is wide.

    Upper bounds are shown last, and are never the best. Rows with too few seeds are shown and not tested.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    parts: list[TablePart] = []
    for board in boards:
        places = [(dataset, shots) for dataset in board.datasets for shots in board.shots]
        places = [place for place in places if any(place in row.scores for row in board.rows)]
        near = {place: _near_best(board, place) for place in places}
        records += [_record(board, row, place, near[place]) for row in board.rows for place in places]
        for title, columns in _split(board, places):
            parts.append(_part(board, title, columns, near))
    keys = ("protocol", "method", "backbone", "dataset", "shots")
    once = {tuple(record[key] for key in keys): record for record in reversed(records)}  # boards may share cells
    return Table("datasets", list(reversed(once.values())), keys, parts)


def _near_best(board: Board, place: Place) -> tuple[Place, ...]:
    """Return the rows that may be the best at a place, the best mean first."""
    there = {
        (row.method, row.backbone): {place: row.scores[place]}
        for row in board.rows
        if not row.is_bound and len(row.scores.get(place, ())) >= RANKED_SEEDS
    }
    most = max((len(scores[place]) for scores in there.values()), default=0)
    whole = [name for name, scores in there.items() if len(scores[place]) == most]
    leading = sorted(whole, key=lambda name: -fmean(there[name][place].values()))[:_MOST_TESTED]
    common = common_cells({name: there[name] for name in leading})
    units = {(row.method, row.backbone): row.units for row in board.rows}
    return not_separable_from_best(common.rows, units=units) if common.cells else ()


def _split(board: Board, places: Sequence[Place]) -> list[tuple[str, list[Place]]]:
    if len(places) <= _WIDE:
        return [(board.title, list(places))]
    shots = sorted({shots for _, shots in places}, key=by_shots)
    return [(f"{board.title}, {text.shots(each)}", [place for place in places if place[1] == each]) for each in shots]


def _part(board: Board, title: str, places: Sequence[Place], near: dict[Place, tuple[Place, ...]]) -> TablePart:
    rows = [row for row in board.rows if any(place in row.scores for place in places)]
    counts = {len(row.scores[place]) for row in rows for place in places if place in row.scores}
    seeds = f" n = {min(counts)}." if len(counts) == 1 else " In brackets: n, where it is not the same throughout."
    names = text.short(board.datasets)
    head = ("method", "backbone", *(f"{names[dataset]}, {text.shots(shots)}" for dataset, shots in places))
    rows = sorted(rows, key=lambda row: row.is_bound)
    body = [
        (
            row.method + (" (upper bound)" if row.is_bound else ""),
            row.backbone,
            *(_cell(row, place, near[place], len(counts) > 1) for place in places),
        )
        for row in rows
    ]
    return TablePart(title, head, body, (0, 1), _NOTE + seeds)


def _cell(row: LeaderRow, place: Place, near: tuple[Place, ...], counted: bool) -> str:
    values = list(row.scores.get(place, {}).values())
    if not values:
        return text.NONE
    told = text.spread(values) + (f" ({len(values)})" if counted else "")
    name = (row.method, row.backbone)
    if near[:1] == (name,):
        return Bold(told)
    return f"{told} †" if name in near else told


def _record(board: Board, row: LeaderRow, place: Place, near: tuple[Place, ...]) -> dict[str, Value]:
    values = list(row.scores.get(place, {}).values())
    return {
        "protocol": board.protocol,
        "method": row.method,
        "backbone": row.backbone,
        "dataset": place[0],
        "shots": place[1],
        "mean": fmean(values) if values else None,
        "sd": stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "upper_bound": row.is_bound,
        "best": near[:1] == ((row.method, row.backbone),),
        "not_separable_from_best": (row.method, row.backbone) in near,
    }
