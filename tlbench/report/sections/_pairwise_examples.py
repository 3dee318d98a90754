"""The first row of a board against those that follow, example by example: who was right where the other was not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.rows.leaderboard import Board
from tlbench.report.sections._pairwise_table import row_name
from tlbench.report.table import Table, TablePart, Value
from tlbench.stats.paired_examples import McNemar, mcnemar
from tlbench.store.mlflow.record_artifact import RecordDetails

_SHOWN = 6  # rows whose answers are looked at: the first one's against each other's
_NOTE = (
    "The row with the best mean against those that follow, on the same test examples: how often, over examples and "
    "seeds, only one of the two was right, and the exact test of that."
)


class _Place(NamedTuple):
    """Which two rows are compared, and on what."""

    protocol: str
    dataset: str
    shots: str
    row: str
    against: str


@dataclass(frozen=True)
class _Comparison:
    """Two rows on the same test examples of ``seeds`` seeds."""

    place: _Place
    test: McNemar
    seeds: int


def examples_table(
    boards: Iterable[Board], cells: Iterable[ComparableCell], details: Mapping[str, RecordDetails]
) -> Table:
    """Return the first row of each board against those that follow, by dataset and shots: who was right alone.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`; of each the first rows are compared.
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        details: What the records hold, by cell.
    """
    known: dict[tuple[str, str, str, str, str], dict[int, RecordDetails]] = {}
    for cell in cells:
        found = details.get(cell.cell)
        if found is not None and found.bits:
            setting = (cell.protocol, cell.method, cell.backbone, cell.dataset, cell.shots)
            known.setdefault(setting, {})[cell.seed] = found
    comparisons: list[_Comparison] = []
    for board in boards:
        first, *others = [(row.method, row.backbone) for row in board.ranked[:_SHOWN]] or [("", "")]
        for dataset, shots, other in product(board.datasets, board.shots, others):
            sides = [known.get((board.protocol, *name, dataset, shots), {}) for name in (first, other)]
            place = _Place(board.protocol, dataset, shots, row_name(first), row_name(other))
            comparisons += _compare(place, *sides)
    head = ("protocol", "dataset", "shots", "row", "against", "right alone", "wrong alone", "tests", "difference", "p")
    body = [
        (
            *each.place,
            str(each.test.better),
            str(each.test.worse),
            str(each.test.tests),
            text.points(each.test.difference),
            text.p_value(each.test.p),
        )
        for each in comparisons
    ]
    parts = [TablePart("Example by example", head, body, (0, 1, 3, 4), _NOTE)] if body else []
    return Table("examples", [_record(each) for each in comparisons], _Place._fields, parts)


def _compare(
    place: _Place, ours: Mapping[int, RecordDetails], theirs: Mapping[int, RecordDetails]
) -> Iterator[_Comparison]:
    """Test on the seeds that both have; yield nothing where the tests are not the same ones."""
    seeds = sorted(ours.keys() & theirs.keys())
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    if not pairs or any((one.tests, one.group) != (two.tests, two.group) for one, two in pairs):
        return
    group = pairs[0][0].group
    test = mcnemar(_stacked([one for one, _ in pairs], group), _stacked([two for _, two in pairs], group), group)
    yield _Comparison(place, test, len(seeds))


def _record(each: _Comparison) -> dict[str, Value]:
    test = each.test
    return {**each.place._asdict(), "better": test.better, "worse": test.worse, "tests": test.tests,
            "difference": test.difference, "p": test.p, "seeds": each.seeds}  # fmt: skip


def _stacked(one_side: Sequence[RecordDetails], group: int) -> NDArray[np.bool_]:
    """Return right or wrong as (seeds, tests); episodes differ from seed to seed, so they are laid end to end."""
    answers = [each.correct for each in one_side if each.correct is not None]
    if group > 1 or len({each.tests for each in one_side}) > 1:
        return np.concatenate(answers)[None]
    return np.stack(answers)
