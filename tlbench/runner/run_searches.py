"""The first stage of a run: the searches that some of its cells wait for."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.core.cell import Cell
from tlbench.planning.budget import budget_of
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.search_plan import read_studies
from tlbench.runner.run_context import RunContext, StageEnd
from tlbench.search.study import Study


def run_searches(
    cells: Iterable[Cell], prepared: PreparedSuite, context: RunContext, restarted: Iterable[Cell] = ()
) -> StageEnd:
    """Run the searches that some cells of a suite wait for, until all have ended or the user or a limit stops them.

    Args:
        cells: The cells; those that wait for no search do no harm.
        prepared: The suite.
        context: What the stages of this run share.
        restarted: Further cells, whose searches begin anew: the trials that these have are retracted.

    Raises:
        UserError: Trials cannot run, or no cluster answers.
    """
    search = prepared.suite.search
    known = read_studies(prepared.searches.needed_by(cells), context.ledger)
    anew = prepared.searches.needed_by(restarted)
    known |= {problem.key: Study(problem, {}) for problem in anew.problems.values()}
    open_ones = {key: study for key, study in known.items() if not study.ended}
    if search is None or not open_ones:
        return StageEnd()
    budget = budget_of(prepared, context.ledger)
    if budget.reached:
        return StageEnd(over_budget=True)
    from tlbench.runner.tune_experiment import Experiment, run_trials

    resources = prepared.suite.resources
    attempts = context.attempts(budget, resources)
    run_trials(Experiment(open_ones, search.scheduler, resources, tuple(anew.trial_ids)), attempts, context)
    complete = not context.stop.is_set() and all(study.ended for study in open_ones.values())
    over_budget = budget.reached and not complete
    return StageEnd(attempts.committed, interrupted=not (complete or over_budget), over_budget=over_budget)
