"""Blocks of a protocol: rows that were planned on the same strata, so that their means can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from tlbench.report.comparable_cells import Stratum

Row = TypeVar("Row")


@dataclass(frozen=True)
class Block(Generic[Row]):
    """All rows that were planned on some strata, and all strata that were planned for these rows."""

    rows: frozenset[Row]
    strata: frozenset[Stratum]


def blocks(planned: Mapping[Row, Iterable[Stratum]]) -> tuple[Block[Row], ...]:
    """Return the blocks of a plan, the one with most rows first, then by strata.

    There is one for each set of rows that some stratum was planned for. A suite of one grid is one block; where one
    grid has two datasets and another a third of its own beside one of them, the rows of both meet on the common
    dataset, and those of each on all of its datasets. A block of a single row compares nothing: it is left out if its
    strata are those of other blocks.

    Args:
        planned: Strata by row; rows without strata are in no block.
    """
    rows_of: dict[Stratum, set[Row]] = {}
    for row, strata in planned.items():
        for stratum in strata:
            rows_of.setdefault(stratum, set()).add(row)
    found = []
    for rows in {frozenset(each) for each in rows_of.values()}:
        found.append(Block(rows, frozenset(stratum for stratum, there in rows_of.items() if there >= rows)))
    compared = {(row, key) for block in found if len(block.rows) > 1 for row in block.rows for key in block.strata}
    kept = [
        block
        for block in found
        if len(block.rows) > 1 or any((row, key) not in compared for row in block.rows for key in block.strata)
    ]
    return tuple(sorted(kept, key=lambda block: (-len(block.rows), -len(block.strata), sorted(block.strata))))
