"""The command ``run``: runs what a suite lists and is not done yet, then writes the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.api.run import run_opened
from tlbench.cli import words
from tlbench.cli.backlog import print_backlog
from tlbench.cli.halt import why_halted
from tlbench.cli.open_suite import open_suite
from tlbench.cli.options import ClusterAddress, Reports, SuitePath, TrackingUri, WorkspacePath
from tlbench.cli.output import err, out
from tlbench.cli.write_report import write_report
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.planning.run_request import RunRequest
    from tlbench.runner.run_suite import RunSummary
    from tlbench.store.workspace import Workspace

_REPORTS = Path("reports")


def run(
    suite: SuitePath,
    only: Annotated[
        str,
        typer.Option(
            help='Run only these cells, e.g. "method=fine* shots<=5 seed!=0"; also "failed" or "stale".',
            show_default=False,
        ),
    ] = "",
    skip: Annotated[str, typer.Option(help="Leave these cells out.", show_default=False)] = "",
    force: Annotated[str, typer.Option(help="Run these cells again though they are done.", show_default=False)] = "",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    address: ClusterAddress = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = _REPORTS,
) -> None:
    """Run what a suite lists and is not done yet; the same command continues after any interruption."""
    from tlbench.api.progress import ConsoleObserver
    from tlbench.cli.status_text import headline
    from tlbench.planning.run_request import RunRequest
    from tlbench.store.addresses import without_credentials

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    request = RunRequest(only=only, skip=skip, force=force, retry_failed=retry_failed, address=address)
    summary = run_opened(
        prepared, place, request, tracking_uri, ConsoleObserver(out), lambda status: out.print(headline(status))
    )
    if not summary.ran and not summary.left:
        out.print("nothing left to run")
    print_backlog(summary.backlog, suite)
    if prepared.plan.cells:
        _report(prepared.suite.name, summary, reports, place)
    if summary.left:
        halt = why_halted(summary.over_budget, prepared, place, suite)
        options = {
            "--workspace": workspace,
            "--tracking-uri": tracking_uri and without_credentials(tracking_uri),
            "--reports": reports if reports != _REPORTS else None,
        }
        err.print(f"[yellow]{escape(halt.reason)}[/]; {words.cells(summary.left)} left")
        err.print(f"  {escape(halt.before or 'to continue:')} {escape(command_to_continue(request, suite, options))}")
    if summary.failed:
        err.print(f"[red]{words.cells(summary.failed)} failed[/]: `tlbench status {escape(str(suite))}` shows why")
    if summary.failed or summary.left:
        raise typer.Exit(1)


def command_to_continue(request: RunRequest, suite: Path, options: Mapping[str, object]) -> str:
    """Return the command that runs what an interrupted run left: it forces and retries nothing a second time.

    Args:
        request: What that run was asked for.
        suite: The suite file.
        options: Further options of the command line by name, None where they were not given.
    """
    from tlbench.planning.run_request import STATUS_WORDS
    from tlbench.suite.selector import conditions_in

    only = " ".join(part for part in conditions_in(request.only) if part not in STATUS_WORDS)
    given = {"--only": only or None, "--skip": request.skip or None, "--address": request.address, **options}
    arguments = [str(text) for name, value in given.items() if value is not None for text in (name, value)]
    return shlex.join(["tlbench", "run", str(suite), *arguments])


def _report(name: str, summary: RunSummary, reports: Path, workspace: Workspace) -> None:
    """Write and show the report; where MLflow lacks results anyway, a report that cannot be written is a note."""
    try:
        write_report([name], summary.tracking, reports, workspace)
    except UserError as error:
        if not summary.backlog.count and not summary.backlog.error:
            raise
        err.print(f"[yellow]no report[/]: {escape(error.message)}")
