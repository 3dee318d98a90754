"""The command ``audit``: checks that hidden labels reach no method, and prints the results as they come."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from tlbench.api.open_suite import open_workspace
from tlbench.cli.open_suite import open_suite
from tlbench.cli.options import Json, SuitePath, WorkspacePath
from tlbench.cli.output import out

if TYPE_CHECKING:
    from tlbench.audit.results import Audit, AuditedCell
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace


def audit(
    suite: SuitePath,
    only: Annotated[
        str,
        typer.Option(help='Audit all these cells, e.g. "method=fine* shots=5 seed=0".', show_default="a small sample"),
    ] = "",
    workspace: WorkspacePath = None,
    as_json: Json = False,
) -> None:
    """Check that hidden labels reach no method, and look for test examples among what was trained on."""
    from tlbench.audit.run_audit import audit as run_audit
    from tlbench.planning.run_request import RunRequest, check_selectors

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    check_selectors(RunRequest(only=only), prepared.plan.cells)
    if as_json:
        result, _ = run_audit(prepared, place, only)
        typer.echo(result.model_dump_json(indent=2))
    else:
        result = _print_audit(prepared, place, only)
    if not result.passed:
        raise typer.Exit(1)


def _print_audit(prepared: PreparedSuite, workspace: Workspace, only: str) -> Audit:
    """Audit a suite and print what comes of it."""
    from tlbench.audit.run_audit import audit as run_audit
    from tlbench.cli.audit_table import examples, overlap_table

    with out.status("opening the data") if out.is_terminal else nullcontext() as status:
        result, file = run_audit(prepared, workspace, only, _Printer(out, status))
    out.print(overlap_table(result, out.width))
    for overlap in result.overlaps:
        for line in examples(overlap):
            out.print(escape(line))
    for label in result.unknown_corpora:
        out.print(f"[yellow]note[/] {escape(label)}: what its weights were trained on elsewhere is not known here")
    out.print(f"[bold]{escape(result.summary)}[/]   {escape(str(file))}")
    return result


@dataclass(frozen=True)
class _Printer:
    """Prints the results of an audit as they come; implements :class:`tlbench.audit.run_audit.AuditObserver`."""

    console: Console
    status: Status | None

    def on_step(self, label: str) -> None:
        """Show what begins."""
        if self.status is not None:
            self.status.update(escape(label))

    def on_cell(self, cell: AuditedCell) -> None:
        """Print the results of a cell."""
        from tlbench.cli.audit_table import cell_lines

        for line in cell_lines(cell):
            self.console.print(line)
