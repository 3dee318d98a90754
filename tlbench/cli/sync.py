"""The command ``sync``: sends to MLflow what it lacks of a suite's results."""

from __future__ import annotations

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.cli.backlog import print_backlog
from tlbench.cli.open_suite import open_suite
from tlbench.cli.options import SuitePath, TrackingUri, WorkspacePath
from tlbench.cli.output import out


def sync(suite: SuitePath, workspace: WorkspacePath = None, tracking_uri: TrackingUri = None) -> None:
    """Send results to MLflow that a run could not send."""
    from tlbench.runner.tracking import sync_suite
    from tlbench.store.addresses import without_credentials

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    with place.ledger() as ledger:
        if not ledger.done(cell.id for cell in prepared.plan.cells):
            out.print(f"nothing to send: no cell of {escape(prepared.suite.name)} has run")
            return
    uri, backlog = sync_suite(prepared, place, tracking_uri)
    print_backlog(backlog, suite)
    if backlog.count or backlog.error:
        raise typer.Exit(1)
    out.print(f"every result is in MLflow: {escape(without_credentials(uri))}")
