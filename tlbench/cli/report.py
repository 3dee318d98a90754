"""The command ``report``: writes the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.api.open_suite import note_of_results, open_workspace, suite_name
from tlbench.api.report import check_tag
from tlbench.cli.open_suite import print_note
from tlbench.cli.options import Reports, TrackingUri, WorkspacePath
from tlbench.cli.write_report import write_report


def report(
    suites: Annotated[
        list[str], typer.Argument(metavar="SUITE...", help="A suite's file or its name; several are joined.")
    ],
    freeze: Annotated[
        str | None,
        typer.Option(metavar="TAG", help="Keep a copy for good under reports/frozen/TAG.", show_default=False),
    ] = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Write the leaderboard, from MLflow alone."""
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    check_tag(freeze, reports)
    place = open_workspace(workspace)
    named = {each: suite_name(each) for each in suites}
    for file, name in named.items():
        if note := note_of_results(file, name, place):
            print_note(note)
    names = list(dict.fromkeys(named.values()))
    written = write_report(names, prepare_tracking(tracking_uri, place.root), reports, place, freeze)
    if not written.is_whole:
        raise typer.Exit(1)
