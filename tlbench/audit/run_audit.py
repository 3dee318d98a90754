"""Audits a suite: chooses cells, checks them, compares data, and stores the results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import torch

import tlbench
from tlbench.audit.leak_checks import check_cell
from tlbench.audit.overlaps import OverlapSearch, unknown_corpora
from tlbench.audit.results import Audit, AuditedCell
from tlbench.audit.storage import read_audit, write_audit
from tlbench.core.cell import Cell
from tlbench.core.cost import Timings
from tlbench.planning.prepare import PreparedSuite
from tlbench.plugins.staleness import InstalledCode, Marks
from tlbench.store.artifacts import Artifacts
from tlbench.store.workspace import Workspace
from tlbench.suite.selector import read_selector
from tlbench.worker.artifact_jobs import PretrainingJob, required_artifacts
from tlbench.worker.process import start_worker_process
from tlbench.worker.provenance import machine_facts


class AuditObserver(Protocol):
    """Called by :func:`audit` as it goes on."""

    def on_step(self, label: str) -> None:
        """Called when a step begins: a cell, or the comparison of data; the label says which."""

    def on_cell(self, cell: AuditedCell) -> None:
        """Called when a cell has been checked."""


def audit(
    prepared: PreparedSuite, workspace: Workspace, only: str = "", observer: AuditObserver | None = None
) -> tuple[Audit, Path]:
    """Audit a suite in this process, and store the audit in the workspace.

    Args:
        prepared: The suite.
        workspace: Where artifacts and audits are kept; no result is read or written.
        only: Selector of the cells to audit; where it is empty, the cheapest of each method and protocol.
        observer: Follows the audit.

    Returns:
        The audit, with those cells of an earlier one that still hold, and its file.

    Raises:
        UserError: The selector, or the file of an earlier audit, is not understood.
    """
    plan, suite = prepared.plan, prepared.suite
    with workspace.ledger() as ledger:
        timings = Timings(ledger.durations())
    cells = read_selector(only).filter(plan.cells) if only else cheapest_cells(plan.cells, timings, workspace.artifacts)
    earlier = read_audit(workspace.root, suite.name)
    gpu = suite.resources.gpus > 0 and torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    cache = start_worker_process(workspace.artifacts.root, suite.resources, device=device, preload=())
    checked = []
    for cell in cells:
        if observer is not None:
            observer.on_step(cell.describe().label)
        checked.append(check_cell(cell, cache))
        if observer is not None:
            observer.on_cell(checked[-1])
    if observer is not None:
        observer.on_step("test data against training and pre-training data")
    overlaps = tuple(OverlapSearch(cache).overlaps(plan.cells))
    result = Audit(
        suite=suite.name,
        finished=time.time(),
        version=tlbench.__version__,
        commit=machine_facts()["commit"],
        device=cache.device.type,
        planned=len(plan.cells),
        cells=(*_still_valid(earlier, checked, plan.cells), *checked),
        overlaps=overlaps,
        unknown_corpora=unknown_corpora(plan.cells),
    )
    return result, write_audit(workspace.root, result)


def cheapest_cells(cells: list[Cell], timings: Timings, artifacts: Artifacts) -> list[Cell]:
    """Return one cell of each method and protocol: the one that takes least time, with the pre-training it lacks.

    Args:
        cells: All cells of a suite.
        timings: What cells took so far.
        artifacts: Tells which weights exist.
    """

    def cost(cell: Cell) -> tuple[float, float, float]:
        weights = [job for job in required_artifacts(cell) if isinstance(job, PretrainingJob)]
        missing = sum(len(job.backbone.runs) for job in weights if not artifacts.has(*job.artifact))
        return missing, timings.estimate(cell).seconds, float("inf") if cell.shots == "full" else cell.shots

    cheapest: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        key = (cell.protocol.name, cell.method.name)
        if key not in cheapest or cost(cell) < cost(cheapest[key]):
            cheapest[key] = cell
    return list(cheapest.values())


def _still_valid(earlier: Audit | None, checked: list[AuditedCell], cells: list[Cell]) -> list[AuditedCell]:
    """Return the cells of an earlier audit that the suite still has, were not checked again, and ran today's code."""
    if earlier is None:
        return []
    again, planned, code = {cell.id for cell in checked}, {cell.id: cell for cell in cells}, InstalledCode()
    return [
        cell
        for cell in earlier.cells
        if cell.id in planned
        and cell.id not in again
        and not code.has_changed(
            planned[cell.id].method.name,
            planned[cell.id].protocol.name,
            Marks(cell.method_source, cell.protocol_source),
        )
    ]
