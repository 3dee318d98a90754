"""Holds a suite's searches against the ledger: what is still to search, and the cells that use what was found."""

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
    """The searched settings of a suite.

    Attributes:
        settings: By the key of the setting of their cells.
        waiting: Ids of the plan's cells whose parameters are not found yet.
    """

    settings: Mapping[str, SearchProblem]
    waiting: frozenset[str] = frozenset()

    def of(self, cells: Iterable[Cell]) -> Searches:
        """Return the searches that some cells wait for."""
        places = {cell.setting.key for cell in cells if cell.id in self.waiting}
        return replace(self, settings={name: each for name, each in self.settings.items() if name in places})

    @property
    def trial_ids(self) -> Iterable[str]:
        """Ids of all trials that the budget allows."""
        return (
            setting.trial_id(number)
            for setting in self.settings.values()
            for number in range(1, setting.max_trials + 1)
        )


def plan_searches(plan: Plan, suite: Suite, spaces: Mapping[str, Space]) -> tuple[Plan, Searches]:
    """Return the plan with every cell of a searched method waiting for its parameters, and the searches.

    Args:
        plan: The suite's.
        suite: The suite.
        spaces: What is searched, by ``MethodChoice.key``.
    """
    if suite.search is None:
        return plan, Searches({})
    marked: dict[str, MethodChoice] = {}

    def waits(cell: Cell) -> Cell:
        if cell.method.key not in spaces:
            return cell
        method = marked.setdefault(cell.method.key, mark_tuned(cell.method))
        return replace(cell, id=waiting_id(cell), method=method)

    plan = replace(plan, cells=[waits(cell) for cell in plan.cells])
    waiting = frozenset(cell.id for cell in plan.cells if cell.method.key in spaces)
    return plan, Searches(search_problems(plan.cells, spaces, suite.search), waiting)


def studies(searches: Searches, ledger: Ledger) -> dict[str, Study]:
    """Return the study of every searched setting, with the trials that have ended, by the setting's key."""
    known = {record.id: record for record in ledger.records(searches.trial_ids)}
    found = {}
    for setting in searches.settings.values():
        numbers = range(1, setting.max_trials + 1)
        records = {n: known[name] for n in numbers if (name := setting.trial_id(n)) in known}
        found[setting.key] = Study(setting, records)
    return found


def waiting_id(cell: Cell) -> str:
    """Return the id that a cell has in a plan while it waits for its parameters, by the cell with the suite's own."""
    return digest([cell.id, "waits"], length=20)


def with_winners(plan: Plan, searches: Searches, studies: Mapping[str, Study]) -> tuple[Plan, Searches]:
    """Return the plan with the parameters that finished searches found; where none was trained, the suite's own."""

    def settled(cell: Cell) -> Cell:
        setting = searches.settings.get(cell.setting.key) if cell.id in searches.waiting else None
        if setting is None or not studies[setting.key].ended:
            return cell
        return setting.tuned_cell(studies[setting.key].best_trial, cell.seed)

    cells = [settled(cell) for cell in plan.cells]
    waiting = searches.waiting & {cell.id for cell in cells}
    return replace(plan, cells=cells), replace(searches, waiting=waiting)
