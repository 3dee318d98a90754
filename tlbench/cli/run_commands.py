"""Commands that train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tlbench.cli.options import Json, Reports, SuitePath, TrackingUri, WorkspacePath
from tlbench.cli.output import err, out
from tlbench.cli.shared_steps import prepare, tell_backlog, workspace_at, write_report
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace


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
    address: Annotated[str | None, typer.Option(help="A running Ray cluster.", show_default="this machine")] = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Run what a suite lists and is not done yet; the same command continues after any interruption."""
    from tlbench.cli.progress import ConsoleObserver
    from tlbench.planning.cell_text import counted
    from tlbench.planning.run_request import RunRequest, command_to_continue, refuse_idle_selectors
    from tlbench.planning.status import suite_status
    from tlbench.runner.run_suite import run_suite
    from tlbench.store.addresses import without_credentials

    place = workspace_at(workspace)
    prepared = prepare(suite, place)
    request = RunRequest(only=only, skip=skip, force=force, retry_failed=retry_failed, address=address)
    refuse_idle_selectors(request, prepared.plan.cells)
    with place.ledger() as ledger:
        out.print(suite_status(prepared, ledger).headline())
    summary = run_suite(prepared, place, request, tracking_uri, ConsoleObserver(out))
    if not summary.ran and not summary.left:
        out.print("nothing left to run")
    tell_backlog(summary.backlog, suite)
    if prepared.plan.cells:
        write_report([prepared.suite.name], summary.tracking, reports, place, must=not summary.backlog.count)
    if summary.left:
        why, then = _halted(summary.over_budget, prepared, place, suite)
        elsewhere = reports if reports != Path("reports") else None
        told_uri = tracking_uri and without_credentials(tracking_uri)
        options = {"--workspace": workspace, "--tracking-uri": told_uri, "--reports": elsewhere}
        err.print(f"[yellow]{escape(why)}[/]; {counted(summary.left)} left")
        err.print(f"  {escape(then or 'to continue:')} {escape(command_to_continue(request, suite, options))}")
    if summary.failed:
        err.print(f"[red]{counted(summary.failed)} failed[/]: `tlbench status {escape(str(suite))}` tells why")
    if summary.failed or summary.left:
        raise typer.Exit(1)


def tune(
    suite: SuitePath,
    only: Annotated[
        str, typer.Option(help='Search only for these cells, e.g. "method=lora shots<=5".', show_default=False)
    ] = "",
    address: Annotated[str | None, typer.Option(help="A running Ray cluster.", show_default="this machine")] = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Run the searches of a suite only; `run` goes on with what they found."""
    from tlbench.cli.progress import ConsoleObserver
    from tlbench.cli.search_table import as_rows, as_table
    from tlbench.planning.run_request import RunRequest, refuse_idle_selectors
    from tlbench.runner.run_suite import tune_suite

    place = workspace_at(workspace)
    prepared = prepare(suite, place)
    if prepared.suite.search is None:
        raise UserError(f"{suite} has no search", "add `search: {trials: 16}`")
    request = RunRequest(only=only, address=address)
    refuse_idle_selectors(request, prepared.plan.cells)
    tuned = tune_suite(prepared, place, request, tracking_uri, ConsoleObserver(err if as_json else out))
    if as_json:
        typer.echo(json.dumps(as_rows(tuned.results), indent=2))
    else:
        out.print(as_table(tuned.results))
    tell_backlog(tuned.backlog, suite)
    if not tuned.complete:
        why, then = _halted(tuned.over_budget, prepared, place, suite)
        err.print(f"[yellow]{escape(why)}[/]: {escape(then)} the same command continues")
        raise typer.Exit(1)


def audit(
    suite: SuitePath,
    only: Annotated[
        str,
        typer.Option(help='Audit all these cells, e.g. "method=fine* shots=5 seed=0".', show_default="a small sample"),
    ] = "",
    workspace: WorkspacePath = None,
    as_json: Json = False,
) -> None:
    """Prove that hidden labels reach no method, and look for test examples among what was trained on."""
    from tlbench.cli.audit_command import run_audit

    place = workspace_at(workspace)
    found = run_audit(prepare(suite, place), place, only, None if as_json else out)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    if not found.passed:
        raise typer.Exit(1)


def _halted(capped: bool, prepared: PreparedSuite, workspace: Workspace, suite: Path) -> tuple[str, str]:
    """Say why something ended before its end, and what to do before the command that continues; empty if nothing."""
    from tlbench.planning.status import suite_status

    if not capped:
        return "stopped", ""
    with workspace.ledger() as ledger:
        return "; ".join(suite_status(prepared, ledger).limits()), f"raise it in {suite}, then"


COMMANDS = {
    "run": run,
    "tune": tune,
    "audit": audit,
}
