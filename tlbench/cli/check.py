"""The command ``check``: whether a suite and its data are fine."""

from __future__ import annotations

from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.cli import words
from tlbench.cli.open_suite import open_suite, print_note_of_name
from tlbench.cli.options import SuitePath, WorkspacePath
from tlbench.cli.output import out


def check(suite: SuitePath, workspace: WorkspacePath = None) -> None:
    """Check a suite and its data without running anything."""
    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    print_note_of_name(prepared, place)
    plan = prepared.plan
    left_out = sum(entry.count for entry in plan.not_applicable)
    why = f", {left_out} not applicable (`tlbench plan {escape(str(suite))}` says why)" if left_out else ""
    out.print(f"{escape(str(suite))}: fine, {words.cells(len(plan.cells))}{why}")
