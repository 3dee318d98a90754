"""A small suite for commands that only look, and results put into its ledger without a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, Outcome, Record
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.store.workspace import Workspace

GRID: dict[str, Any] = {
    "protocol": "classification",
    "methods": ["knn", "nearest_centroid"],
    "backbones": [{"name": "conv4", "width": 8}],
    "datasets": ["digits"],
    "shots": [1, 5],
    "seeds": 3,
}


def suite(**changes: Any) -> dict[str, Any]:
    """Return a suite of 12 cells; keys of the suite replace its own, the others those of its grid."""
    own = {key: changes.pop(key) for key in ("limits", "search", "grids") if key in changes}
    return {"name": "looked", "grids": [GRID | changes], **own}


def usual_outcome(cell: Cell) -> Outcome:
    """Return an outcome that every cell may have."""
    return Outcome(scores={"accuracy": 0.25}, notes=("seen",))


def commit(
    file: Path,
    count: int,
    seconds: float = 1.0,
    error: str = "",
    outcome: Callable[[Cell], Outcome] = usual_outcome,
) -> PreparedSuite:
    """Commit results of the first cells of a suite that have none."""
    workspace = Workspace.at(None)
    prepared = prepare(file, workspace.artifacts)
    with workspace.ledger() as ledger:
        done = ledger.done()
        cells = [cell for cell in prepared.plan.cells if cell.id not in done][:count]
        leases = ledger.lease([cell.id for cell in cells], "test", 60)
        for cell in cells:
            record = Record(
                cell=cell.describe(),
                status="failed" if error else "done",
                outcome=None if error else outcome(cell),
                cost=Cost(
                    seconds=seconds, train_seconds=0, cpu_seconds=0, peak_memory=2**20, gpus=0, cpus=2, started=0.0
                ),
                error={"type": "ValueError", "message": f"{error}\nmore", "traceback": "line 1\nline 2"}
                if error
                else None,
            )
            assert ledger.commit(record, leases[cell.id])
    return prepared
