"""Audits a suite: which cells, where, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

import tlbench
from tlbench.audit.leak_checks import prove
from tlbench.audit.overlaps import Comparing, unseen
from tlbench.audit.results import Audit, AuditedCell
from tlbench.audit.storage import read_audit, write_audit
from tlbench.core.cell import Cell
from tlbench.core.cost import Timings
from tlbench.planning.prepare import PreparedSuite
from tlbench.plugins.staleness import InstalledCode, Marks
from tlbench.store.artifacts import Artifacts
from tlbench.store.workspace import Workspace
from tlbench.suite.selector import select
from tlbench.worker.artifact_jobs import PretrainingJob, required_artifacts
from tlbench.worker.cache import WorkerCache
from tlbench.worker.provenance import machine_facts

Tell = Callable[[str], None]


def audit(
    prepared: PreparedSuite,
    workspace: Workspace,
    only: str = "",
    starting: Tell = lambda what: None,
    proved: Callable[[AuditedCell], None] = lambda cell: None,
) -> tuple[Audit, Path]:
    """Audit a suite in this process, and keep what comes of it in the workspace.

    Args:
        prepared: The suite.
        workspace: Where results and artifacts are kept; no result is read or written.
        only: Selector of the cells to audit; the cheapest of each method and protocol where it is empty.
        starting: Told what begins.
        proved: Told each cell that was audited.

    Returns:
        The audit, with those cells of an earlier one that nothing has changed, and its file.

    Raises:
        UserError: The selector, or the file of an earlier audit, is not understood.
    """
    plan, suite = prepared.plan, prepared.suite
    with workspace.ledger() as ledger:
        timings = Timings(ledger.durations())
    cells = select(only).of(plan.cells) if only else sample(plan.cells, timings, workspace.artifacts)
    earlier = read_audit(workspace.root, suite.name)
    cache = _cache(prepared, workspace)
    found = []
    for cell in cells:
        starting(cell.describe().label)
        found.append(prove(cell, cache))
        proved(found[-1])
    starting("test data against training and pre-training data")
    overlaps = tuple(Comparing(cache).overlaps(plan.cells))
    made = Audit(
        suite=suite.name,
        finished=time.time(),
        version=tlbench.__version__,
        commit=machine_facts()["commit"],
        device=cache.device.type,
        planned=len(plan.cells),
        cells=(*_kept(earlier, found, plan.cells), *found),
        overlaps=overlaps,
        unseen=unseen(plan.cells),
    )
    return made, write_audit(workspace.root, made)


def sample(cells: list[Cell], timings: Timings, artifacts: Artifacts) -> list[Cell]:
    """Return one cell of each method and protocol: the one that takes least time, the weights it lacks included.

    Args:
        cells: All of a suite.
        timings: What cells took so far.
        artifacts: Where weights are that are made.
    """

    def cost(cell: Cell) -> tuple[float, float, float]:
        weights = [job for job in required_artifacts(cell) if isinstance(job, PretrainingJob)]
        missing = sum(len(job.backbone.runs) for job in weights if not artifacts.has(*job.artifact))
        return missing, timings.estimate(cell).seconds, float("inf") if cell.shots == "full" else cell.shots

    cheapest: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        at = (cell.protocol.name, cell.method.name)
        if at not in cheapest or cost(cell) < cost(cheapest[at]):
            cheapest[at] = cell
    return list(cheapest.values())


def _cache(prepared: PreparedSuite, workspace: Workspace) -> WorkerCache:
    """Return the shared pieces that a slot of the suite would have."""
    resources = prepared.suite.resources
    torch.set_num_threads(max(1, int(resources.cpus)))
    gpu = resources.gpus > 0 and torch.cuda.is_available()
    if gpu:
        torch.backends.cudnn.deterministic = True
    device = torch.device("cuda" if gpu else "cpu")
    return WorkerCache(workspace.artifacts, device, precision=resources.precision)


def _kept(earlier: Audit | None, found: list[AuditedCell], cells: list[Cell]) -> list[AuditedCell]:
    """Return the cells of an earlier audit that the suite still has, that were not audited again, by today's code."""
    if earlier is None:
        return []
    again, today, code = {cell.id for cell in found}, {cell.id: cell for cell in cells}, InstalledCode()
    return [
        cell
        for cell in earlier.cells
        if cell.id in today
        and cell.id not in again
        and not code.has_changed(
            today[cell.id].method.name, today[cell.id].protocol.name, Marks(cell.method_source, cell.protocol_source)
        )
    ]
