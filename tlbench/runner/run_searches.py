"""Runs what a suite's searches have not tried yet, and tells what they found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tlbench.core.cell import Cell
from tlbench.core.segments import Segments
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.search_plan import Searches, studies
from tlbench.planning.status import budget_of
from tlbench.runner.run_context import RunContext, StageEnd
from tlbench.search.objective import value_of
from tlbench.store.ledger import Ledger


@dataclass(frozen=True)
class Found:
    """What the search of a setting has found so far.

    Attributes:
        setting: What people read.
        trials: Number of trials that ended, failed ones too; a third each where a training is three.
        failed: Number of those that failed.
        seconds: Device-seconds of all of them.
        start: Validation score of the default configuration; None where it has none.
        best: Validation score of the winner; None where there is none.
        number: Which trial it is; 0 where there is none.
        values: Its values; where they changed along the way, those of the end.
        segments: How they changed: up to which ninth of the training which values hold; empty where they did not.
        note: Why there was nothing to search, if so.
    """

    setting: str
    trials: float
    failed: int
    seconds: float
    start: float | None
    best: float | None
    number: int
    values: dict[str, Any]
    segments: Segments = ()
    note: str = ""


def run_searches(cells: Iterable[Cell], prepared: PreparedSuite, context: RunContext) -> StageEnd:
    """Run the searches that some cells of a suite wait for, until all have ended or the user or a limit stops them.

    Args:
        cells: The cells; those that wait for no search do no harm.
        prepared: The suite.
        context: What the stages of this run share.

    Raises:
        UserError: Trials cannot run, or no cluster answers.
    """
    search = prepared.suite.search
    open_ones = {
        key: study for key, study in studies(prepared.searches.of(cells), context.ledger).items() if not study.ended
    }
    if search is None or not open_ones:
        return StageEnd()
    budget = budget_of(prepared, context.ledger)
    if budget.reached:
        return StageEnd(over_budget=True)
    from tlbench.runner.tune_experiment import Experiment, run_trials

    resources = prepared.suite.resources
    attempts = context.attempts(budget, resources)
    run_trials(Experiment(open_ones, search.scheduler, resources), attempts, context)
    complete = not context.stop.is_set() and all(study.ended for study in open_ones.values())
    over_budget = budget.reached and not complete
    return StageEnd(attempts.committed, interrupted=not (complete or over_budget), over_budget=over_budget)


def findings(searches: Searches, ledger: Ledger) -> list[Found]:
    """Return what every search has found so far, in the order of the suite."""
    found = []
    for study in studies(searches, ledger).values():
        records = study.records.values()
        best, first, chosen = study.winner, study.default, study.best_trial
        found.append(
            Found(
                setting=study.problem.label,
                trials=len(records) / study.problem.trials_per_training,
                failed=sum(record.status == "failed" for record in records),
                seconds=study.spent,
                start=None if first is None else value_of(first.outcome),
                best=None if best is None else value_of(best.outcome),
                number=0 if chosen is None else chosen.number,
                values={} if chosen is None else chosen.values,
                segments=() if chosen is None else chosen.segments,
                note="no validation within the label budget" if study.blind else "",
            )
        )
    return found
