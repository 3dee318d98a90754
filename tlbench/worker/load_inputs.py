"""Loads what fitting a cell reads, so that no cell's measured time contains it: it depends on what ran here before."""

from __future__ import annotations

from tlbench.core.cell import Cell
from tlbench.plugins import registry
from tlbench.worker.worker_resources import WorkerResources


def load_inputs(cell: Cell, resources: WorkerResources) -> None:
    """Load data, network and code of a cell into this process, unless they are there.

    Args:
        cell: The cell; its weights, and its teacher's, are built where they are missing.
        resources: The process that fits it.
    """
    resources.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
    resources.backbone(cell.backbone, cell.seed)
    if cell.method.teacher is not None:
        resources.read_by_teacher(cell)
    registry.declaration("methods", cell.method.name).load()
    registry.declaration("protocols", cell.protocol.name).load()
