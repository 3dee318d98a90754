"""The command ``status``: how far a suite is, and why cells failed."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.cli.open_suite import open_suite, print_note_of_name
from tlbench.cli.options import SuitePath, WorkspacePath
from tlbench.cli.output import out


def status(
    suite: SuitePath,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its id and status.")] = False,
    workspace: WorkspacePath = None,
) -> None:
    """Show the status of a suite, and why cells failed."""
    from tlbench.cli.status_text import failure_lines, status_lines
    from tlbench.planning.status import failure_reasons, suite_status

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    print_note_of_name(prepared, place)
    with place.ledger() as ledger:
        current = suite_status(prepared, ledger)
        reasons = failure_reasons(prepared, ledger)
    for line in (*status_lines(current), *failure_lines(reasons)):
        out.print(line)
    if reasons:
        out.print("  `tlbench cell ID` shows a cell's settings and traceback")
    for cell, name in current.by_cell() if cells else ():
        out.print(f"{cell.id}  {name.ljust(6)}  {escape(cell.describe().label)}")
