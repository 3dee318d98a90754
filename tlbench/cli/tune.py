"""The command ``tune``: runs the searches of a suite and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.cli.backlog import print_backlog
from tlbench.cli.halt import why_halted
from tlbench.cli.open_suite import open_suite
from tlbench.cli.options import ClusterAddress, Json, SuitePath, TrackingUri, WorkspacePath
from tlbench.cli.output import err, out, print_json
from tlbench.core.errors import UserError


def tune(
    suite: SuitePath,
    only: Annotated[
        str, typer.Option(help='Search only for these cells, e.g. "method=lora shots<=5".', show_default=False)
    ] = "",
    address: ClusterAddress = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Run only the searches of a suite; `run` goes on with their results."""
    from tlbench.api.progress import ConsoleObserver
    from tlbench.cli.search_table import search_json, search_table
    from tlbench.planning.run_request import RunRequest, check_selectors
    from tlbench.runner.run_suite import tune_suite

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    if prepared.suite.search is None:
        raise UserError(f"{suite} has no search", "add `search: {trials: 16}`")
    request = RunRequest(only=only, address=address)
    check_selectors(request, prepared.plan.cells)
    summary = tune_suite(prepared, place, request, tracking_uri, ConsoleObserver(err if as_json else out))
    if as_json:
        print_json(search_json(summary.results))
    else:
        out.print(search_table(summary.results, out.width))
    print_backlog(summary.backlog, suite)
    if not summary.complete:
        halt = why_halted(summary.over_budget, prepared, place, suite)
        err.print(f"[yellow]{escape(halt.reason)}[/]: {escape(halt.before)} the same command continues")
        raise typer.Exit(1)
