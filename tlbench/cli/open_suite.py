"""Opens the suite that a command is given, and says in the terminal what goes on meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from tlbench.api import open_suite as opening
from tlbench.cli.output import err

if TYPE_CHECKING:
    from tlbench.api.open_suite import AnySuite
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace

_NOTES = 10  # shown about the data of a suite; more would hide the rest


def open_suite(suite: AnySuite, workspace: Workspace) -> PreparedSuite:
    """Return a suite that is ready to run, with the parameters that its finished searches found.

    Raises:
        UserError: The suite, its data or its weights are wrong.
    """
    with err.status("reading the suite") as shown:  # in a terminal only
        prepared = opening.open_suite(suite, workspace, lambda name: shown.update(f"opening {escape(name)}"))
    for warning in prepared.warnings[:_NOTES]:
        print_note(warning)
    if len(prepared.warnings) > _NOTES:
        print_note(f"and {len(prepared.warnings) - _NOTES} more")
    return prepared


def print_note_of_name(prepared: PreparedSuite, workspace: Workspace) -> None:
    """Say whether another suite has the name, as far as suites have run in the workspace."""
    if note := opening.note_of_name(prepared, workspace):
        print_note(note)


def print_note(note: str) -> None:
    """Say what a reader must know."""
    err.print(f"[yellow]note[/] {escape(note)}")
