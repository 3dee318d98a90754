"""The status of a suite: what is to do, done, failed, stale or not applicable, and what the rest will cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tlbench.core.cell import Cell
from tlbench.core.cost import Timings, Total
from tlbench.core.record import Record
from tlbench.planning.budget import Budget, budget_of
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.search_plan import read_studies
from tlbench.planning.stale_searches import plan_status, stale_trials
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger
from tlbench.suite.plan import PlanStatus


class TrialProgress(NamedTuple):
    """How far the searches are that cells to do wait for.

    Attributes:
        done: Number of trials that have ended.
        at_most: Number of trials that they can come to.
        trainings: Number of trainings that the trials left can take: one for each fold, a third for a segment.
        waiting_cells: Number of cells that wait for them.
    """

    done: int
    at_most: int
    trainings: int
    waiting_cells: int


@dataclass(frozen=True)
class SuiteStatus:
    """The status of a suite.

    Attributes:
        prepared: The suite.
        cells: Its cells, sorted by status.
        trials: Progress of the searches under way.
        cost: Estimate of the cells to do and of the trials that they wait for.
        budget: Its limits, and what its cells and trials have used.
        stale_trials: Number of trials, of any search, by code that has changed since.
    """

    prepared: PreparedSuite
    cells: PlanStatus
    trials: TrialProgress
    cost: Total
    budget: Budget
    stale_trials: int = 0

    def by_cell(self) -> Iterator[tuple[Cell, str]]:
        """Yield every cell with the name of its status, in the plan's order."""
        names = {cell.id: name for name, cells in self.cells.lists.items() for cell in cells}
        return ((cell, names[cell.id]) for cell in self.prepared.plan.cells)


@dataclass(frozen=True)
class FailureReason:
    """Cells that failed for the same reason.

    Attributes:
        reason: Type of the error and first line of its message.
        records: The cells' records.
    """

    reason: str
    records: list[Record]


def suite_status(prepared: PreparedSuite, ledger: Ledger) -> SuiteStatus:
    """Return the status of a suite by the results in the ledger."""
    cells = plan_status(prepared, ledger)
    studies = [s for s in read_studies(prepared.searches.needed_by(cells.todo), ledger).values() if not s.ended]
    left = [cell for study in studies for cell in _trainings_left(study)]
    trials = TrialProgress(
        done=sum(len(study.records) for study in studies),
        at_most=sum(study.max_trials for study in studies),
        trainings=len(left),
        waiting_cells=sum(cell.id in prepared.searches.waiting for cell in cells.todo),
    )
    cost = Timings(ledger.durations()).total([*cells.todo, *left], prepared.suite.resources)
    stale = sum(stale_trials(prepared, ledger).values())
    return SuiteStatus(prepared, cells, trials, cost, budget_of(prepared, ledger), stale)


def _trainings_left(study: Study) -> list[Cell]:
    """Return a cell for each training that the trials left of a search can take."""
    problem, trials = study.problem, study.max_trials - len(study.records)
    return [problem.trial(1, {})] * (-(-trials // problem.trials_per_training) * problem.folds)


def failure_reasons(prepared: PreparedSuite, ledger: Ledger) -> list[FailureReason]:
    """Return why cells of a suite failed, the most frequent reason first."""
    by_reason: dict[str, list[Record]] = {}
    for record in ledger.records(cell.id for cell in prepared.plan.cells):
        if record.error is not None:
            reason = f"{record.error['type']}: {record.error['message'].partition(chr(10))[0]}"
            by_reason.setdefault(reason, []).append(record)
    return [FailureReason(*each) for each in sorted(by_reason.items(), key=lambda item: -len(item[1]))]
