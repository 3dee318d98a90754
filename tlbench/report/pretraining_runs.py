"""Which rows rest on one pre-training run, whose luck their seeds do not vary."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.report.comparable_cells import ComparableCell, grouped

Row = tuple[str, str, str]
"""Labels of a protocol, a method and a backbone."""


def rows_on_one_run(cells: Iterable[ComparableCell]) -> frozenset[Row]:
    """Return the rows with several seeds that all rest on the weights of one pre-training run.

    It may be the run of the backbone, or of the backbone of a teacher. Weights from a library or a file are given, and
    no run of the suite.

    Args:
        cells: Finished cells.
    """
    rows = grouped(cells, lambda cell: (cell.protocol, cell.method, cell.backbone))
    return frozenset(row for row, own in rows.items() if len({cell.seed for cell in own}) > 1 and _common(own))


def _common(cells: Iterable[ComparableCell]) -> set[str]:
    """Return the pre-training runs that all cells rest on."""
    return set.intersection(*(_runs(cell) for cell in cells))


def _runs(cell: ComparableCell) -> set[str]:
    shared = {each.key for each in cell.shared if each.kind == "pre-training"}
    return shared | ({cell.pretrain_run} if cell.pretrain_run else set())
