"""Searches that have trials by code that has changed since, and the suite as it is when such searches begin anew."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tlbench.core.cell import Cell
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.run_request import RunRequest, selected_cells, wants_stale
from tlbench.planning.search_plan import without_winners
from tlbench.plugins.staleness import Marks
from tlbench.store.ledger import Ledger
from tlbench.suite.plan import PlanStatus


def plan_status(prepared: PreparedSuite, ledger: Ledger) -> PlanStatus:
    """Sort the cells of a suite by what the ledger has of them and of the searches that found their parameters."""
    results = ledger.result_infos(cell.id for cell in prepared.plan.cells)
    found = prepared.searches.found
    return prepared.plan.status(results, {found[key] for key in stale_trials(prepared, ledger) if key in found})


def stale_trials(prepared: PreparedSuite, ledger: Ledger) -> dict[str, int]:
    """Return how many trials were done by code that has changed since, by the key of the search; those that have any.

    Args:
        prepared: The suite, with the parameters that finished searches found.
        ledger: Has the trials.
    """
    plan, searches = prepared.plan, prepared.searches
    results = ledger.result_infos(searches.trial_ids) if searches.problems else {}
    found = {}
    for problem in searches.problems.values():
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
    searches = settled.searches
    asked = {
        searches.by_cell[c.id].key for c in selected_cells(request, settled.plan.cells) if c.id in searches.by_cell
    }
    restarted = restart(settled, asked & stale.keys())
    waiting = [cell for cell in restarted.plan.cells if cell.id in restarted.searches.waiting]
    problems = restarted.searches.problems
    return restarted, [cell for cell in selected_cells(request, waiting) if problems[cell.id].key in stale]


def restart(prepared: PreparedSuite, keys: Collection[str]) -> PreparedSuite:
    """Return a suite whose cells wait once more for the searches with some keys."""
    plan, searches = without_winners(prepared.plan, prepared.searches, keys)
    return replace(prepared, plan=plan, searches=searches)
