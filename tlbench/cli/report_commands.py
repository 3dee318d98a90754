"""Commands about results in MLflow: send, report, compare, serve."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tlbench.cli.options import Json, Reports, SuitePath, TrackingUri, WorkspacePath
from tlbench.cli.output import out
from tlbench.cli.shared_steps import prepare, suite_name, tell_backlog, workspace_at, write_report

if TYPE_CHECKING:
    from tlbench.report.results import Results


def sync(suite: SuitePath, workspace: WorkspacePath = None, tracking_uri: TrackingUri = None) -> None:
    """Send results to MLflow that a run could not send."""
    from tlbench.runner.tracking import sync_suite
    from tlbench.store.addresses import without_credentials

    place = workspace_at(workspace)
    prepared = prepare(suite, place)
    with place.ledger() as ledger:
        if not ledger.done(cell.id for cell in prepared.plan.cells):
            out.print(f"nothing to send: no cell of {escape(prepared.suite.name)} has run")
            return
    uri, backlog = sync_suite(prepared, place, tracking_uri)
    tell_backlog(backlog, suite)
    if backlog.count:
        raise typer.Exit(1)
    out.print(f"every result is in MLflow: {escape(without_credentials(uri))}")


def report(
    suites: Annotated[
        list[str], typer.Argument(metavar="SUITE...", help="A suite's file or its name; several are joined.")
    ],
    freeze: Annotated[
        str | None, typer.Option(metavar="TAG", help="Keep it for good under reports/frozen/TAG.", show_default=False)
    ] = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Write the leaderboard, from MLflow alone."""
    from tlbench.report.comparison import snapshots as frozen
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    if freeze is not None:
        frozen.refuse_tag(freeze, reports)
    names = list(dict.fromkeys(map(suite_name, suites)))
    place = workspace_at(workspace)
    written = write_report(names, prepare_tracking(tracking_uri, place.root), reports, place)
    if written is None:
        return
    if freeze is not None:
        folder = frozen.freeze(written.report, freeze, reports)
        out.print(f"frozen       {escape(str(folder))}   (`tlbench compare` reads it)")
    if not written.is_whole:
        raise typer.Exit(1)


def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help='A method, a selector such as "method=lora shots<=5", or a frozen tag.')
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, said the same way.")],
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", help="Only this suite's results; may be repeated.", show_default="all suites"),
    ] = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
    as_json: Json = False,
) -> None:
    """Compare two selections of results, paired seed by seed, or two frozen tags."""
    from tlbench.report.comparison.compare import compare as compare_names
    from tlbench.report.results import load_several
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    def load() -> Results:
        return load_several(
            list(map(suite_name, suites or ())), prepare_tracking(tracking_uri, workspace_at(workspace).root)
        )

    output = compare_names(first, second, reports, load)
    if as_json:
        typer.echo(json.dumps(output.values, indent=2))
    else:
        out.print(escape(output.text))


def ui(
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 5000,
) -> None:
    """Serve MLflow's own pages on this machine only."""
    import signal
    import subprocess

    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    uri = prepare_tracking(tracking_uri, workspace_at(workspace).root)
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", *where]
    # The URI may hold a password, and everybody may read the arguments of a process.
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    out.print(f"http://127.0.0.1:{port} in a moment; Ctrl-C ends it")
    # A session of its own: on Ctrl-C all its processes are ended here, where by themselves they take up to a minute.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    raise typer.Exit(code)


COMMANDS = {
    "sync": sync,
    "report": report,
    "compare": compare,
    "ui": ui,
}
