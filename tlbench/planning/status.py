"""How a suite stands: what is to do, done, failed, stale or not applicable, and what the rest will cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape

from tlbench.core.cell import Cell
from tlbench.core.cost import Timings, Total
from tlbench.core.record import Record
from tlbench.planning.budget import Budget
from tlbench.planning.cell_text import clock, counted
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.search_plan import studies
from tlbench.planning.stale_searches import plan_status, stale_trials
from tlbench.store.ledger import Ledger
from tlbench.suite.plan import PlanStatus

_SHOWN = 3  # cells named for each reason of failure


@dataclass(frozen=True)
class SuiteStatus:
    """A suite's status and the cost of what is left.

    Attributes:
        prepared: The suite.
        cells: Its cells, sorted by status.
        cost: Of the cells to do.
        used: Hours that its finished cells took, by ``gpu`` and ``cpu`` (see :func:`budget_of`).
        tried: Trials that have ended in the searches under way, and how many these can come to.
        stale_trials: Number of trials, of any search, by code that has changed since.
    """

    prepared: PreparedSuite
    cells: PlanStatus
    cost: Total
    used: dict[str, float]
    tried: tuple[int, int] = (0, 0)
    stale_trials: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return counts, reasons and estimates for programs."""
        return {
            "suite": self.prepared.suite.name,
            "cells": len(self.prepared.plan.cells),
            **{name: len(cells) for name, cells in self._lists()},
            "not_applicable": [asdict(entry) for entry in self.prepared.plan.summarize_not_applicable()],
            "cpu_hours": self.cost.cpu_hours,
            "gpu_hours": self.cost.gpu_hours,
            "estimates": dict(self.cost.sources),
            "todo_ids": [cell.id for cell in self.cells.todo],
            "trials": {"done": self.tried[0], "at_most": self.tried[1], "stale": self.stale_trials},
        }

    def headline(self) -> str:
        """Return the counts in one line, with rich's markup."""
        counts = [f"{len(cells)} {name}" for name, cells in self._lists() if cells]
        return " · ".join([f"[bold]{self.prepared.suite.name}[/]: {counted(len(self.prepared.plan.cells))}", *counts])

    def as_text(self) -> str:
        """Return everything for people, with rich's markup."""
        lines = [self.headline()]
        for entry in self.prepared.plan.summarize_not_applicable():
            lines.append(f"  not applicable ({entry.count}): {escape(entry.what)}: {escape(entry.reason)}")
        if self.tried[1]:
            done, most = self.tried
            lines.append(f"  searching first: {done} of at most {most} trials done, for {self._waiting} cells")
        if self.cells.todo:
            hours = f"{self.cost.cpu_hours:.2g} CPU-h" + (
                f", {self.cost.gpu_hours:.2g} GPU-h" if self.cost.gpu_hours else ""
            )
            lines.append(f"  to do: about {hours}; {clock(self.cost.seconds)} if cells ran one after another")
            lines += [f"    {counted(count)}: {escape(source)}" for source, count in self.cost.sources.items()]
        lines += [f"  {line}" for line in self.limits()]
        if self.cells.failed:
            lines.append("  failed cells run again with --retry-failed")
        if self.cells.stale:
            lines.append('  stale cells (their code has changed) run again with --only "stale"')
        if self.stale_trials:
            lines.append(f'  stale trials: {self.stale_trials}; their searches begin anew with --only "stale"')
        return "\n".join(lines)

    def limits(self) -> list[str]:
        """Return a line for each limit on hours: how much of it is used, and whether any cell may still start."""
        lines = []
        limits = self.prepared.suite.limits
        for unit, cap in (("gpu", limits.gpu_hours), ("cpu", limits.cpu_hours)):
            if cap is not None:
                over = ": no further cell starts" if self.used[unit] >= cap else ""
                lines.append(f"limits.{unit}_hours: {self.used[unit]:.3g} of {cap:g} used{over}")
        return lines

    def by_cell(self) -> list[tuple[Cell, str]]:
        """Return every cell with how it stands, in the plan's order."""
        names = {cell.id: name for name, cells in self._lists() for cell in cells}
        return [(cell, names[cell.id]) for cell in self.prepared.plan.cells]

    @property
    def _waiting(self) -> int:
        return sum(cell.id in self.prepared.searches.waiting for cell in self.cells.todo)

    def _lists(self) -> list[tuple[str, list[Cell]]]:
        status = self.cells
        return [
            ("todo", status.todo),
            ("done", status.done),
            ("failed", status.failed),
            ("stale", status.stale),
        ]


def suite_status(prepared: PreparedSuite, ledger: Ledger) -> SuiteStatus:
    """Hold a suite's plan against the ledger."""
    status = plan_status(prepared, ledger)
    open_ones = [study for study in studies(prepared.searches.of(status.todo), ledger).values() if not study.ended]
    done, most = (sum(each) for each in ((len(s.records) for s in open_ones), (s.max_trials for s in open_ones)))
    trials = [study.problem.trial(n, {}) for study in open_ones for n in range(len(study.records), study.max_trials)]
    cost = Timings(ledger.durations()).total([*status.todo, *trials], prepared.suite.resources)
    spent, stale = budget_of(prepared, ledger).spent, sum(stale_trials(prepared, ledger).values())
    return SuiteStatus(prepared, status, cost, spent, (done, most), stale)


def budget_of(prepared: PreparedSuite, ledger: Ledger) -> Budget:
    """Return what the suite may use and what its finished trials and cells took; 0 where no limit asks for it."""
    budget = Budget(prepared.suite.limits)
    if budget.limits.gpu_hours is not None or budget.limits.cpu_hours is not None:
        for record in ledger.records((*(cell.id for cell in prepared.plan.cells), *prepared.searches.trial_ids)):
            budget.take(record.cost)
    return budget


def failures(prepared: PreparedSuite, ledger: Ledger) -> list[str]:
    """Return why cells failed: each reason with its count, the most frequent first, then a few of its cells."""
    reasons: dict[str, list[Record]] = {}
    for record in ledger.records(cell.id for cell in prepared.plan.cells):
        if record.error is not None:
            said = f"{record.error['type']}: {record.error['message'].partition(chr(10))[0]}"
            reasons.setdefault(said, []).append(record)
    lines = []
    for reason, records in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {counted(len(records))} failed: {reason}")
        lines += [f"    {record.id}  {record.cell.label}" for record in records[:_SHOWN]]
        if len(records) > _SHOWN:
            lines.append(f"    and {len(records) - _SHOWN} more (--cells lists all)")
    if reasons:
        lines.append("  `tlbench cell ID` shows a cell's settings and traceback")
    return lines
