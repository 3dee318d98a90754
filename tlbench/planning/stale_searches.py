"""Searches that have trials by code that has changed since, and the suite as it is when such searches begin anew."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tlbench.core.cell import Cell
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.run_request import RunRequest, selected_cells, wants_stale
from tlbench.planning.search_plan import waiting_id
from tlbench.plugins.staleness import Marks
from tlbench.store.ledger import Ledger
from tlbench.suite.plan import PlanStatus


def plan_status(prepared: PreparedSuite, ledger: Ledger) -> PlanStatus:
    """Sort the cells of a suite by what the ledger has of them and of the searches that found their parameters."""
    results = ledger.result_infos(cell.id for cell in prepared.plan.cells)
    return prepared.plan.status(results, stale_trials(prepared, ledger))


def stale_trials(prepared: PreparedSuite, ledger: Ledger) -> dict[str, int]:
    """Return how many trials were done by code that has changed since, by the key of the search; those that have any.

    Args:
        prepared: The suite, with the parameters that finished searches found. Only searches that its cells wait for, or
            took their parameters from, are looked at.
        ledger: Has the trials.
    """
    plan, searches = prepared.plan, prepared.searches
    used = {cell.winner.setting for cell in plan.cells if cell.winner is not None}
    used |= {problem.key for problem in searches.needed_by(plan.cells).problems.values()}
    problems = [problem for problem in searches.problems.values() if problem.key in used]
    results = ledger.result_infos(searches.trial_ids) if problems else {}
    found = {}
    for problem in problems:
        ended = (results.get(problem.trial_id(number)) for number in range(1, problem.max_trials + 1))
        marks = [Marks(each.method_source, each.protocol_source) for each in ended if each and each.status == "done"]
        stale = sum(plan.code.has_changed(problem.method.name, problem.protocol.name, each) for each in marks)
        if stale:
            found[problem.key] = stale
    return found


def restart_stale_searches(
    prepared: PreparedSuite, ledger: Ledger, request: RunRequest
) -> tuple[PreparedSuite, list[Cell]]:
    """Return the suite, and those of its cells that wait for a stale search which a user asks to begin anew.

    Args:
        prepared: The suite.
        ledger: Has the trials.
        request: What the user asks; without ``stale`` among its words no search begins anew.
    """
    if not wants_stale(request):
        return prepared, []
    settled = prepared.with_winners(ledger)
    stale = stale_trials(settled, ledger)
    asked = {cell.winner.setting for cell in selected_cells(request, settled.plan.cells) if cell.winner is not None}
    restarted = restart(settled, asked & stale.keys())
    waiting = [cell for cell in restarted.plan.cells if cell.id in restarted.searches.waiting]
    problems = restarted.searches.problems
    return restarted, [cell for cell in selected_cells(request, waiting) if problems[cell.setting.key].key in stale]


def restart(prepared: PreparedSuite, keys: Collection[str]) -> PreparedSuite:
    """Return a suite whose cells wait once more for the searches with some keys."""
    problems = {problem.key: problem for problem in prepared.searches.problems.values()}

    def waits(cell: Cell) -> Cell:
        if cell.winner is None or cell.winner.setting not in keys:
            return cell
        untuned = problems[cell.winner.setting].tuned_cell(None, cell.seed)
        return replace(untuned, id=waiting_id(untuned))

    cells = [waits(cell) for cell in prepared.plan.cells]
    again = {after.id for before, after in zip(prepared.plan.cells, cells, strict=True) if before is not after}
    searches = replace(prepared.searches, waiting=prepared.searches.waiting | again)
    return replace(prepared, plan=replace(prepared.plan, cells=cells), searches=searches)
