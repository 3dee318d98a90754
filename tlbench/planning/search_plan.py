"""The searches of a suite: which cells are searched, how far the ledger says they are, and who uses the winners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from tlbench.core.cell import Cell
from tlbench.core.planned_setting import PlannedSetting
from tlbench.plugins import registry
from tlbench.search.problem import SearchProblem, mark_tuned
from tlbench.search.space import Space
from tlbench.search.spec import Search
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger
from tlbench.suite.plan import Plan
from tlbench.suite.spec import Suite


@dataclass(frozen=True)
class Searches:
    """The searches of a suite, one for each setting and seed of a method with something to search.

    Beside each tuned cell a plan has the cell with the suite's own parameters, by which a report tells what the search
    gained. It is no row of the suite, and where the search keeps the default it is the tuned cell itself.

    Attributes:
        problems: By the id that the cell has while it waits.
        found: Ids of the cells with the parameters that were found, by the key of the search problem; of searches that
            are over.
        listed: Ids of the cells that the suite lists and does not search.
    """

    problems: Mapping[str, SearchProblem]
    found: Mapping[str, str] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()

    @cached_property
    def waiting(self) -> frozenset[str]:
        """Ids of the plan's cells whose parameters are not known yet."""
        return frozenset(name for name, problem in self.problems.items() if problem.key not in self.found)

    @cached_property
    def by_cell(self) -> dict[str, SearchProblem]:
        """The problem that gave a cell its parameters, or that it waits for, by the id of the cell."""
        return {self.found.get(problem.key, name): problem for name, problem in self.problems.items()}

    @cached_property
    def references(self) -> frozenset[str]:
        """Ids of the cells that are in the plan only to tell what a search gained."""
        defaults = {problem.default_cell.id for problem in self.problems.values()}
        return frozenset(defaults - self.listed - self.by_cell.keys())

    def keeps_default(self, problem: SearchProblem) -> bool:
        """Return whether a search is over and its cell has the suite's own parameters."""
        return self.found.get(problem.key) == problem.default_cell.id

    def needed_by(self, cells: Iterable[Cell]) -> Searches:
        """Return the searches that some cells wait for."""
        ids = {cell.id for cell in cells} & self.waiting
        return replace(self, problems={name: each for name, each in self.problems.items() if name in ids})

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
    problems = {
        problem.waiting_cell.id: problem
        for cell in plan.cells
        if (space := spaces.get(cell.method.key)) is not None
        for problem in [_problem(cell, space, suite.search)]
    }
    of_default = {problem.default_cell.id: problem for problem in problems.values()}
    listed = frozenset(cell.id for cell in plan.cells if cell.method.key not in spaces)

    def places(cell: Cell) -> list[Cell]:
        problem = of_default.get(cell.id) if cell.method.key in spaces else None
        return [cell] if problem is None else [problem.waiting_cell, problem.default_cell]

    return _with_cells(plan, (each for cell in plan.cells for each in places(cell))), Searches(problems, {}, listed)


def planned_settings(plan: Plan, searches: Searches) -> tuple[PlannedSetting, ...]:
    """Return the settings of a suite's rows, under the same labels before and after the searches.

    Args:
        plan: The suite's, with or without the parameters that searches found.
        searches: Its searches.
    """
    rows = []
    for cell in plan.cells:
        problem = searches.by_cell.get(cell.id)
        if problem is not None:
            rows.append(problem.waiting_cell)
        if cell.id in searches.listed or (problem is None and cell.id not in searches.references):
            rows.append(cell)
    tuned_from: dict[PlannedSetting, str] = {}
    kept: dict[PlannedSetting, list[int]] = {}
    for problem in searches.problems.values():
        (setting,) = replace(plan, cells=[problem.waiting_cell]).settings()
        setting = replace(setting, seeds=())
        tuned_from[setting] = problem.default_cell.method.label
        kept.setdefault(setting, []).extend([problem.seed] if searches.keeps_default(problem) else [])
    return tuple(
        replace(each, tuned_from=tuned_from.get(key, ""), kept=tuple(kept.get(key, ())))
        for each in replace(plan, cells=rows).settings()
        for key in [replace(each, seeds=())]
    )


def unfolded(searches: Searches) -> tuple[str, ...]:
    """Return a note for each reason why searches validate on few examples, where others would have folds."""
    found: dict[str, SearchProblem] = {}
    for each in searches.problems.values():
        if each.foldable and each.folds == 1 and each.folds_wanted > 1:
            why = (
                "a training that is cut into segments"
                if each.segmented
                else f"{each.method.name}, which has a teacher,"
            )
            found.setdefault(f"{why} is not validated in folds", each)
    return tuple(f"search: {what}, but on few examples (as in {each.label})" for what, each in found.items())


def read_studies(searches: Searches, ledger: Ledger) -> dict[str, Study]:
    """Return the study of every search, with the trials that have ended, by the key of the search problem."""
    by_id = {record.id: record for record in ledger.records(searches.trial_ids)}
    studies = {}
    for problem in searches.problems.values():
        numbers = range(1, problem.max_trials + 1)
        records = {number: by_id[name] for number in numbers if (name := problem.trial_id(number)) in by_id}
        studies[problem.key] = Study(problem, records)
    return studies


def with_winners(plan: Plan, searches: Searches, studies: Mapping[str, Study]) -> tuple[Plan, Searches]:
    """Return the plan with the parameters that finished searches found; where no trial succeeded, the suite's own.

    Args:
        plan: The suite's.
        searches: Its searches.
        studies: From :func:`read_studies`.
    """
    found: dict[str, str] = {}

    def with_parameters(cell: Cell) -> Cell:
        problem = searches.problems.get(cell.id)
        if problem is None or not studies[problem.key].ended:
            return cell
        tuned = problem.tuned_cell(studies[problem.key].winning_trial)
        found[problem.key] = tuned.id
        return tuned

    plan = _with_cells(plan, [with_parameters(cell) for cell in plan.cells])
    return plan, replace(searches, found={**searches.found, **found})


def without_winners(plan: Plan, searches: Searches, keys: Iterable[str]) -> tuple[Plan, Searches]:
    """Return the plan with cells that wait once more for the searches with some keys; undoes :func:`with_winners`."""
    anew = set(keys) & searches.found.keys()

    def waits(cell: Cell) -> Iterator[Cell]:
        problem = searches.by_cell.get(cell.id)
        if problem is None or problem.key not in anew:
            yield cell
            return
        yield problem.waiting_cell
        if searches.keeps_default(problem):
            yield cell

    found = {key: name for key, name in searches.found.items() if key not in anew}
    return _with_cells(plan, (each for cell in plan.cells for each in waits(cell))), replace(searches, found=found)


def _with_cells(plan: Plan, cells: Iterable[Cell]) -> Plan:
    """Return a plan with other cells, each once."""
    unique: dict[str, Cell] = {}
    for cell in cells:
        unique.setdefault(cell.id, cell)
    return replace(plan, cells=list(unique.values()))


def _problem(cell: Cell, space: Space, search: Search) -> SearchProblem:
    setting = cell.setting._replace(method=mark_tuned(cell.method))
    foldable = registry.declaration("protocols", cell.protocol.name).constants.FOLDS
    return SearchProblem(*setting, cell.seed, space, search, cell.execution, foldable)
