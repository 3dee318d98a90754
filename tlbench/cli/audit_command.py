"""The command ``audit``: runs one, and tells of it as it goes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from tlbench.audit.results import Audit, AuditedCell
from tlbench.audit.run_audit import audit
from tlbench.cli.audit_table import cell_lines, examples, overlap_table
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.run_request import RunRequest, refuse_idle_selectors
from tlbench.store.workspace import Workspace


def run_audit(prepared: PreparedSuite, workspace: Workspace, only: str, console: Console | None) -> Audit:
    """Audit a suite and tell of it.

    Args:
        prepared: The suite.
        workspace: Where artifacts and the audit are kept.
        only: Selector of cells; empty for a sample.
        console: Where to tell; None tells nothing.

    Raises:
        UserError: The selector is not understood, or fits no cell.
    """
    refuse_idle_selectors(RunRequest(only=only), prepared.plan.cells)
    if console is None:
        return audit(prepared, workspace, only)[0]

    with console.status("opening the data") if console.is_terminal else nullcontext() as status:
        found, file = audit(prepared, workspace, only, _Printer(console, status))
    console.print(overlap_table(found))
    for overlap in found.overlaps:
        for line in examples(overlap):
            console.print(escape(line))
    for label in found.unknown_corpora:
        console.print(f"[yellow]note[/] {escape(label)}: what its weights were trained on elsewhere is not known here")
    console.print(f"[bold]{escape(found.summary)}[/]   {escape(str(file))}")
    return found


@dataclass(frozen=True)
class _Printer:
    """Prints what becomes of an audit as it goes on; implements :class:`AuditObserver`."""

    console: Console
    status: Status | None

    def on_step(self, label: str) -> None:
        """Show what begins."""
        if self.status is not None:
            self.status.update(escape(label))

    def on_cell(self, cell: AuditedCell) -> None:
        """Print the results of a cell."""
        for line in cell_lines(cell):
            self.console.print(line)
