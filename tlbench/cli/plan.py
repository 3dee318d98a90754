"""The command ``plan``: what a run of a suite will do, and what it will cost."""

from __future__ import annotations

from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.api.plan import status_of
from tlbench.cli.open_suite import open_suite, print_note_of_name
from tlbench.cli.options import Json, SuitePath, WorkspacePath
from tlbench.cli.output import out, print_json


def plan(suite: SuitePath, workspace: WorkspacePath = None, as_json: Json = False) -> None:
    """Show what is to do, done, failed, stale or not applicable, and what it will cost."""
    from tlbench.cli.status_text import status_json, status_lines

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    print_note_of_name(prepared, place)
    status = status_of(prepared, place)
    if as_json:
        print_json(status_json(status))
        return
    for line in status_lines(status):
        out.print(line)
    if status.cells.todo:
        out.print(f"  `tlbench run {escape(str(suite))}` runs what is to do")
