"""The searches of a suite: which settings are searched, how far the ledger says they are, and who uses the winners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tlbench.core.cell import Cell, MethodChoice
from tlbench.core.hashing import digest
from tlbench.search.problem import SearchProblem, mark_tuned, search_problems
from tlbench.search.space import Space
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger
from tlbench.suite.plan import Plan
from tlbench.suite.spec import Suite


@dataclass(frozen=True)
class Searches:
    """The searches of a suite, one for each setting of a method with something to search.

    Attributes:
        problems: By the key of the setting (``Cell.setting.key``).
        waiting: Ids of the plan's cells whose parameters are not known yet.
    """

    problems: Mapping[str, SearchProblem]
    waiting: frozenset[str] = frozenset()

    def needed_by(self, cells: Iterable[Cell]) -> Searches:
        """Return the searches that some cells wait for."""
        keys = {cell.setting.key for cell in cells if cell.id in self.waiting}
        return replace(self, problems={key: each for key, each in self.problems.items() if key in keys})

    @property
    def trial_ids(self) -> Iterable[str]:
        """Ids of all trials that the budgets of the searches allow."""
        return (each.trial_id(number) for each in self.problems.values() for number in range(1, each.max_trials + 1))


def plan_searches(plan: Plan, suite: Suite, spaces: Mapping[str, Space]) -> tuple[Plan, Searches]:
    """Return the plan with every cell of a searched method waiting for its parameters, and the searches.

    Args:
        plan: The suite's.
        suite: The suite.
        spaces: What is searched, by ``MethodChoice.key``.
    """
    if suite.search is None:
        return plan, Searches({})
    tuned: dict[str, MethodChoice] = {}

    def wait(cell: Cell) -> Cell:
        if cell.method.key not in spaces:
            return cell
        method = tuned.setdefault(cell.method.key, mark_tuned(cell.method))
        return replace(cell, id=waiting_id(cell), method=method)

    plan = replace(plan, cells=[wait(cell) for cell in plan.cells])
    waiting = frozenset(cell.id for cell in plan.cells if cell.method.key in spaces)
    return plan, Searches(search_problems(plan.cells, spaces, suite.search), waiting)


def read_studies(searches: Searches, ledger: Ledger) -> dict[str, Study]:
    """Return the study of every search, with the trials that have ended, by the key of the search problem."""
    by_id = {record.id: record for record in ledger.records(searches.trial_ids)}
    studies = {}
    for problem in searches.problems.values():
        numbers = range(1, problem.max_trials + 1)
        records = {number: by_id[name] for number in numbers if (name := problem.trial_id(number)) in by_id}
        studies[problem.key] = Study(problem, records)
    return studies


def waiting_id(cell: Cell) -> str:
    """Return the id that a cell has in a plan while it waits for its parameters, by the cell with the suite's own."""
    return digest([cell.id, "waits"], length=20)


def with_winners(plan: Plan, searches: Searches, studies: Mapping[str, Study]) -> tuple[Plan, Searches]:
    """Return the plan with the parameters that finished searches found; where no trial succeeded, the suite's own.

    Args:
        plan: The suite's.
        searches: Its searches.
        studies: From :func:`read_studies`.
    """

    def with_parameters(cell: Cell) -> Cell:
        problem = searches.problems.get(cell.setting.key) if cell.id in searches.waiting else None
        if problem is None or not studies[problem.key].ended:
            return cell
        return problem.tuned_cell(studies[problem.key].best_trial, cell.seed)

    cells = [with_parameters(cell) for cell in plan.cells]
    waiting = searches.waiting & {cell.id for cell in cells}
    return replace(plan, cells=cells), replace(searches, waiting=waiting)
