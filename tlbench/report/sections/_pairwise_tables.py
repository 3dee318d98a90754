"""Rows of a board held against each other, pair by pair: over all cells, and example by example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import Measured
from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Part, Sheet, Value
from tlbench.stats.paired_examples import mcnemar
from tlbench.store.mlflow.record_artifact import Attached

Row = tuple[str, str]
_SHOWN = 6  # rows whose answers are looked at: the first one's against each other's
_SAME = (
    "The row with the best mean against those that follow, on the same test examples: how often, over examples and "
    "seeds, only one of the two was right, and the exact test of that."
)


def pairs_sheet(boards: Iterable[Board]) -> Sheet:
    """Return one row a pair of complete rows with its simultaneous interval, the better mean first.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    parts = []
    for board in boards:
        if board.comparison is None:
            continue
        body = []
        names = board.comparison.names
        for place, ours in enumerate(names):
            for theirs in names[place + 1 :]:
                pair = board.comparison.pairs.get((ours, theirs))
                if pair is None:
                    continue
                found = pair.contrast.estimate
                records.append(
                    {
                        "protocol": board.protocol,
                        "method": ours[0],
                        "backbone": ours[1],
                        "other_method": theirs[0],
                        "other_backbone": theirs[1],
                        "difference": found.mean,
                        "low": found.low,
                        "high": found.high,
                        "p_adjusted": pair.p,
                        "verdict": pair.verdict,
                        "pairs": pair.contrast.pairs,
                    }
                )
                body.append(
                    (_told(ours), _told(theirs), text.points(found.mean), text.points_interval(found),
                     text.p_value(pair.p))
                )  # fmt: skip
        head = ("row", "against", "difference", "simultaneous 95% interval", "p (Bonferroni)")
        parts.append(Part(board.title, head, body, (0, 1)))
    return Sheet("pairwise", records, ("protocol", "method", "backbone", "other_method", "other_backbone"), parts)


def examples_sheet(boards: Iterable[Board], cells: Iterable[Measured], attached: Mapping[str, Attached]) -> Sheet:
    """Return the first row of each board against those that follow, by dataset and shots: who was right alone.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`; of each the first rows are compared.
        cells: See :func:`tlbench.report.comparable_cells.settle`.
        attached: What the records hold, by cell.
    """
    known: dict[tuple[str, str, str, str, str], dict[int, Attached]] = {}
    for cell in cells:
        found = attached.get(cell.cell)
        if found is not None and found.bits:
            place = (cell.protocol, cell.method, cell.backbone, cell.dataset, cell.shots)
            known.setdefault(place, {})[cell.seed] = found
    records: list[dict[str, Value]] = []
    for board in boards:
        first, *others = [(row.method, row.backbone) for row in board.ranked[:_SHOWN]] or [("", "")]
        for dataset, shots, other in product(board.datasets, board.shots, others):
            sides = [known.get((board.protocol, *name, dataset, shots), {}) for name in (first, other)]
            told = _compared(*sides)
            if told:
                where = {"protocol": board.protocol, "dataset": dataset, "shots": shots}
                records.append({**where, "row": _told(first), "against": _told(other), **told})
    head = ("protocol", "dataset", "shots", "row", "against", "right alone", "wrong alone", "tests", "difference", "p")
    body = [
        (
            *(str(each[key]) for key in ("protocol", "dataset", "shots", "row", "against", "better", "worse", "tests")),
            text.points(float(str(each["difference"]))),
            text.p_value(float(str(each["p"]))),
        )
        for each in records
    ]
    columns = ("protocol", "dataset", "shots", "row", "against")
    parts = [Part("Example by example", head, body, (0, 1, 3, 4), _SAME)] if body else []
    return Sheet("examples", records, columns, parts)


def _compared(ours: Mapping[int, Attached], theirs: Mapping[int, Attached]) -> dict[str, Value]:
    """Test on the seeds that both have; nothing where the tests are not the same ones."""
    seeds = sorted(ours.keys() & theirs.keys())
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    if not pairs or any((one.tests, one.group) != (two.tests, two.group) for one, two in pairs):
        return {}
    group = pairs[0][0].group
    found = mcnemar(_stacked([one for one, _ in pairs], group), _stacked([two for _, two in pairs], group), group)
    return {"better": found.better, "worse": found.worse, "tests": found.tests, "difference": found.difference,
            "p": found.p, "seeds": len(seeds)}  # fmt: skip


def _stacked(one_side: Sequence[Attached], group: int) -> NDArray[np.bool_]:
    """Return right or wrong as (seeds, tests); episodes differ from seed to seed, so they are laid end to end."""
    answers = [each.correct for each in one_side if each.correct is not None]
    if group > 1 or len({each.tests for each in one_side}) > 1:
        return np.concatenate(answers)[None]
    return np.stack(answers)


def _told(row: Row) -> str:
    return f"{row[0]} · {row[1]}"
