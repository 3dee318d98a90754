"""How a suite stands: what is to do, done, failed, stale or not applicable, and what the rest will cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from tlbench.core.cost import Timings, Total
from tlbench.core.plan import Progress as Standing
from tlbench.execution.prepare import Prepared
from tlbench.execution.progress import clock
from tlbench.store.ledger import Ledger


@dataclass(frozen=True)
class Outlook:
    """A suite's standing and the cost of what is left."""

    prepared: Prepared
    standing: Standing
    cost: Total

    def as_json(self) -> dict[str, Any]:
        """Return counts, reasons and estimates for programs."""
        return {
            "suite": self.prepared.suite.name,
            "cells": len(self.prepared.plan.cells),
            **{name: len(cells) for name, cells in self._lists()},
            "not_applicable": self.prepared.plan.reasons(),
            "cpu_hours": self.cost.cpu_hours,
            "gpu_hours": self.cost.gpu_hours,
            "estimates": dict(self.cost.sources),
            "todo_ids": [cell.id for cell in self.standing.todo],
        }

    def as_text(self) -> str:
        """Return the same for people, with rich's markup."""
        counts = " · ".join(f"{len(cells)} {name}" for name, cells in self._lists() if cells or name == "todo")
        lines = [f"[bold]{self.prepared.suite.name}[/]: {len(self.prepared.plan.cells)} cells · {counts}"]
        for entry in self.prepared.plan.reasons():
            lines.append(f"  not applicable ({entry['count']}): {escape(entry['what'])}: {escape(entry['reason'])}")
        if self.standing.todo:
            hours = f"{self.cost.cpu_hours:.2g} CPU-h" + (
                f", {self.cost.gpu_hours:.2g} GPU-h" if self.cost.gpu_hours else ""
            )
            lines.append(f"  to do: about {hours}, {clock(self.cost.seconds)} of cells one after another")
            lines += [f"    {count} cells: {escape(source)}" for source, count in self.cost.sources.items()]
        if self.standing.failed:
            lines.append("  failed cells run again with --retry-failed")
        if self.standing.stale:
            lines.append('  stale cells (their code has changed) run again with --only "stale"')
        return "\n".join(lines)

    def _lists(self) -> list[tuple[str, list[Any]]]:
        standing = self.standing
        return [
            ("todo", standing.todo),
            ("done", standing.done),
            ("failed", standing.failed),
            ("stale", standing.stale),
        ]


def outlook(prepared: Prepared, ledger: Ledger) -> Outlook:
    """Hold a suite's plan against the ledger."""
    standing = prepared.plan.against(ledger.known(cell.id for cell in prepared.plan.cells))
    cost = Timings(ledger.durations()).total(standing.todo, prepared.suite.resources)
    return Outlook(prepared, standing, cost)


def failures(prepared: Prepared, ledger: Ledger) -> list[str]:
    """Return one line for each failed cell: id, what it was, and the error."""
    lines = []
    for record in ledger.records(cell.id for cell in prepared.plan.cells):
        if record.error is not None:
            cell = record.cell
            what = f"{cell['method_label']} | {cell['backbone_label']} | {cell['dataset']} | {cell['shots']}"
            first = record.error["message"].partition("\n")[0]
            lines.append(f"  {record.id}  {what} | seed {cell['seed']}: {record.error['type']}: {first}")
    return lines
