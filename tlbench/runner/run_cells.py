"""Runs cells on the slots of a session and commits their records."""

from __future__ import annotations

from collections.abc import Sequence

from tlbench.core.cell import Cell
from tlbench.core.cost import Timings
from tlbench.planning.budget import budget_of
from tlbench.planning.prepare import PreparedSuite
from tlbench.runner.observer import Stage, observed
from tlbench.runner.run_context import RunContext, StageEnd
from tlbench.runner.scheduler import Scheduler
from tlbench.runner.slot_pool import Slots


def run_cells(again: Sequence[Cell], fresh: Sequence[Cell], prepared: PreparedSuite, context: RunContext) -> StageEnd:
    """Run cells until all are done, or until the user or a limit of the suite stops it.

    Args:
        again: Cells to run first, whose earlier results are taken back once the cluster stands.
        fresh: Cells that have no result.
        prepared: The suite they belong to.
        context: What the stages of this run share.

    Raises:
        UserError: The cluster does not answer, has no room for a cell, or its processes cannot start.
    """
    cells = [*again, *fresh]
    context.session.start()
    if context.stop.is_set():
        return StageEnd(interrupted=True)
    context.session.wait_until_idle()  # until the processes of searches are gone: slots want all there is
    context.gate.start_stage(context.session.machines())
    suite, ledger, total = prepared.suite, context.ledger, len(prepared.plan.cells)
    estimate = Timings(ledger.durations()).total(cells, suite.resources)
    with Slots(context.session, context.workspace.artifacts.root, suite.resources, most=len(cells)) as slots:
        ledger.forget(cell.id for cell in again)  # not before: results outlive a wrong address
        stage = Stage(
            "cells",
            total=total,
            done=total - len(cells),
            workers=len(slots),
            expected_seconds=None if estimate.guessed else estimate.seconds,
        )
        attempts = context.attempts(budget_of(prepared, ledger), suite.resources)
        scheduler = Scheduler(cells, slots, attempts, context.gate, context.stop.is_set)
        with observed(context.observer, stage):
            scheduler.run()
    return StageEnd(attempts.committed, context.stop.is_set(), scheduler.over_budget)
