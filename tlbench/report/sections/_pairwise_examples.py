"""The first row of a board against those that follow, example by example: who was right where the other was not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import comb
from typing import NamedTuple

import numpy as np

from tlbench.report import number_format as text
from tlbench.report.rows.leaderboard import Board, LeaderRow
from tlbench.report.sections._pairwise_table import row_name
from tlbench.report.table import Table, TablePart, Value
from tlbench.stats.contrasts import Contrast, paired_contrast
from tlbench.stats.paired_examples import McNemar, mcnemar
from tlbench.stats.pairwise import pair_error

_SHOWN = 6  # rows whose answers are looked at: the first one's against each other's
_NOTE = (
    "The row with the best mean against those that follow, on the same test units (examples; in episodes, where "
    "classes return, test classes): on how many either of the two was right with more seeds. Intervals contain the "
    "errors of seeds and of the test set; p-values are corrected for all pairs of rows at all places (Bonferroni), "
    "since the first row was chosen for its mean."
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
    """Two rows on the same test units of ``seeds`` seeds."""

    place: _Place
    counts: McNemar
    contrast: Contrast
    p: float | None
    seeds: int


def examples_table(boards: Iterable[Board]) -> Table:
    """Return the first row of each board against those that follow, by dataset and shots: who was right alone.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`; of each the first rows are compared.
    """
    comparisons = [each for board in boards for each in _compare_rows(board)]
    head = ("protocol", "dataset", "shots", "row", "against", "right alone", "wrong alone", "units", "difference",
            "95% interval", "p (Bonferroni)")  # fmt: skip
    body = [
        (
            *each.place,
            str(each.counts.better),
            str(each.counts.worse),
            str(each.counts.units),
            text.points(each.contrast.estimate.mean),
            text.points_interval(each.contrast.estimate),
            text.p_value(each.p),
        )
        for each in comparisons
    ]
    parts = [TablePart("Example by example", head, body, (0, 1, 3, 4), _NOTE)] if body else []
    return Table("examples", [_record(each) for each in comparisons], _Place._fields, parts)


def _compare_rows(board: Board) -> Iterator[_Comparison]:
    found = []
    ranked = board.ranked[:_SHOWN]
    for dataset, shots, other in product(board.datasets, board.shots, ranked[1:]):
        comparison = _compare(board, (dataset, shots), ranked[0], other)
        found += [comparison] if comparison is not None else []
    tests = comb(len(board.ranked), 2) * len(board.strata)
    for each in found:
        p = each.contrast.p
        yield replace(each, p=None if p is None else min(1.0, tests * p))


def _compare(board: Board, stratum: tuple[str, str], ours: LeaderRow, theirs: LeaderRow) -> _Comparison | None:
    """Compare on the seeds that both have; None where answers are not stored, or the tests are not the same ones."""
    units = [row.units.get(stratum, {}) for row in (ours, theirs)]
    seeds = sorted(units[0].keys() & units[1].keys())
    if not seeds or len({side[seed].shape for side in units for seed in seeds}) != 1:
        return None
    first, second = ({stratum: {seed: row.scores[stratum][seed] for seed in seeds}} for row in (ours, theirs))
    error = pair_error(first, second, {stratum: units[0]}, {stratum: units[1]})
    contrast = paired_contrast(first, second, tests=error)
    assert contrast is not None
    counts = mcnemar(*(np.stack([side[seed] for seed in seeds]) for side in units))
    names = [row_name((row.method, row.backbone)) for row in (ours, theirs)]
    return _Comparison(_Place(board.protocol, *stratum, *names), counts, contrast, None, len(seeds))


def _record(each: _Comparison) -> dict[str, Value]:
    counts, estimate = each.counts, each.contrast.estimate
    return {**each.place._asdict(), "better": counts.better, "worse": counts.worse, "units": counts.units,
            "difference": estimate.mean, "low": estimate.low, "high": estimate.high, "p_adjusted": each.p,
            "seeds": each.seeds}  # fmt: skip
