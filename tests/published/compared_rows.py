"""Runs a suite in this process, and holds its rows against the published figures that it names."""

from __future__ import annotations

import sys
from pathlib import Path

from one_process import new_cache

from tlbench.core.cell import Cell
from tlbench.core.record import Record
from tlbench.planning.prepare import prepare
from tlbench.store.artifacts import Artifacts
from tlbench.suite.published import Reference, RowLabels, the_row
from tlbench.worker.run_cell import run_cell


def compare(path: Path, artifacts: Path) -> list[tuple[Reference, float, int]]:
    """Return each reference with the mean accuracy of the row that it stands beside, and the number of its seeds.

    Raises:
        UserError: The suite or its data are wrong.
    """
    prepared, cache = prepare(path, Artifacts(artifacts)), new_cache(artifacts)
    records = [(cell, run_cell(cell, cache)) for cell in prepared.plan.cells]
    return [(each, *_ours(each, records)) for each in prepared.suite.references]


def disagreeing(rows: list[tuple[Reference, float, int]]) -> list[str]:
    """Print every row, and return those that are comparable and differ by more than their tolerance."""
    wrong = []
    for reference, ours, count in rows:
        difference = 100 * ours - reference.value
        told = f"{reference.value:.2f} {100 * ours:.2f} (n={count}) {difference:+.2f} {reference.source}"
        told += f" [not comparable: {reference.differs}]" if reference.differs else ""
        print(told)
        if not reference.differs and abs(difference) > reference.tolerance:
            wrong.append(told)
    return wrong


def _ours(reference: Reference, records: list[tuple[Cell, Record]]) -> tuple[float, int]:
    rows: dict[RowLabels, list[float]] = {}
    for cell, record in records:
        assert record.outcome is not None, record.error
        labels = RowLabels(
            cell.protocol.name,
            cell.method.label,
            cell.backbone.info.label,
            cell.dataset.info.name,
            str(cell.shots),
        )
        rows.setdefault(labels, []).append(record.outcome.scores["accuracy"])
    found = rows[the_row(reference.row, rows)]
    return sum(found) / len(found), len(found)


if __name__ == "__main__":
    sys.exit("\n".join(disagreeing(compare(Path(sys.argv[1]), Path(sys.argv[2])))) or 0)
