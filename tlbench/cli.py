"""The command line: each command a few lines over the rooms that do the work, imported only when it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.execution.home import Home
    from tlbench.execution.prepare import Prepared
    from tlbench.store.sync import Backlog

app = typer.Typer(
    help="Compare transfer-learning methods fairly: one YAML suite in, one leaderboard out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

SuitePath = Annotated[Path, typer.Argument(metavar="SUITE", help="The suite file, e.g. suites/quickstart.yaml.")]
HomePath = Annotated[
    Path | None, typer.Option("--home", help="Where results and artifacts are kept. [default: .tlbench]")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", help="MLflow's store or server. [default: $MLFLOW_TRACKING_URI, else SQLite in the home]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Reports = Annotated[Path, typer.Option("--reports", help="Where reports are written.")]


def main() -> NoReturn:
    """Run the command line; a user's mistake ends with one message and exit code 2."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        _complain(error)
        sys.exit(2)
    except typer.Exit as wish:
        sys.exit(wish.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        err.print("stopped")
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "format_message"):  # a wrong command or option, as click words it
            error.show()
            sys.exit(2)
        raise
    sys.exit(0)


def _complain(error: UserError) -> None:
    err.print(f"[bold red]error[/] {escape(error.message)}")
    if error.hint:
        err.print(f"  {escape(error.hint)}")


@app.command(name="list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, protocols, backbones, datasets or suites.")] = "methods",
    as_json: Json = False,
) -> None:
    """List what there is, one line each."""
    from tlbench.execution.listing import listing

    rows = listing(what)
    if as_json:
        typer.echo(json.dumps([{"name": name, "about": about} for name, about in rows], indent=2))
        return
    width = max((len(name) for name, _ in rows), default=0)
    for name, about in rows:
        out.print(f"[bold]{escape(name.ljust(width))}[/]  {escape(about)}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of suite files, for editors."""
    from tlbench.core.schema import schema as suite_schema
    from tlbench.execution.prepare import catalog

    typer.echo(json.dumps(suite_schema(catalog()), indent=2))


@app.command()
def check(suite: SuitePath, home: HomePath = None) -> None:
    """Check a suite and its data without running anything."""
    prepared = _prepare(suite, _home(home))
    cells, absent = len(prepared.plan.cells), sum(entry.count for entry in prepared.plan.not_applicable)
    out.print(f"{escape(str(suite))}: fine, {cells} cells" + (f", {absent} not applicable" if absent else ""))


@app.command()
def plan(suite: SuitePath, home: HomePath = None, as_json: Json = False) -> None:
    """Show what is to do, done, failed, stale or not applicable, and what it will cost."""
    from tlbench.execution.outlook import outlook

    place = _home(home)
    prepared = _prepare(suite, place)
    with place.ledger() as ledger:
        seen = outlook(prepared, ledger)
    if as_json:
        typer.echo(json.dumps(seen.as_json(), indent=2))
    else:
        out.print(seen.as_text())


@app.command()
def run(
    suite: SuitePath,
    only: Annotated[
        str, typer.Option(help='Run only these cells, e.g. "method=lora* shots<=5", "failed", "stale".')
    ] = "",
    skip: Annotated[str, typer.Option(help="Leave these cells out.")] = "",
    force: Annotated[str, typer.Option(help="Run these cells again though they are done.")] = "",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster. [default: this machine]")] = None,
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Run what a suite lists and is not done yet; the same command continues after any interruption."""
    from tlbench.execution.run_suite import Wish, run_suite

    place = _home(home)
    prepared = _prepare(suite, place)
    wish = Wish(only=only, skip=skip, force=force, retry_failed=retry_failed, address=address)
    summary = run_suite(prepared, place, wish, tracking_uri, out)
    _tell_backlog(summary.backlog, suite)
    _report(prepared.suite.name, summary.tracking, reports, must=not summary.backlog.count)
    if summary.interrupted or summary.capped:
        why = "stopped" if summary.interrupted else "a limit of the suite is reached"
        out.print(f"{why}, {summary.left} cells left; the same command continues")
    if summary.failed:
        err.print(f"[red]{summary.failed} cells failed[/]: `tlbench status {escape(str(suite))}` tells why")
    if summary.failed or summary.left:
        raise typer.Exit(1)


@app.command()
def status(suite: SuitePath, home: HomePath = None) -> None:
    """Show how a suite stands, and why cells failed."""
    from tlbench.execution.outlook import failures, outlook

    place = _home(home)
    prepared = _prepare(suite, place)
    with place.ledger() as ledger:
        out.print(outlook(prepared, ledger).as_text())
        for text in failures(prepared, ledger):
            out.print(escape(text))


@app.command()
def cell(
    cell_id: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, or its first few characters.")],
    home: HomePath = None,
) -> None:
    """Print one cell's stored record: settings, scores, cost, environment, traceback."""
    place = _home(home)
    with place.ledger() as ledger:
        record = ledger.record(cell_id)
    body = record.model_dump(mode="json", exclude={"outcome": {"correct"}})
    typer.echo(json.dumps({**body, "digest": record.digest}, indent=2))


@app.command()
def sync(suite: SuitePath, home: HomePath = None, tracking_uri: TrackingUri = None) -> None:
    """Send results to MLflow that a run could not send."""
    from tlbench.execution.run_suite import send
    from tlbench.store.on_mlflow import without_credentials

    place = _home(home)
    uri, backlog = send(_prepare(suite, place), place, tracking_uri)
    _tell_backlog(backlog, suite)
    if backlog.count:
        raise typer.Exit(1)
    out.print(f"every result is in MLflow: {escape(without_credentials(uri))}")


@app.command()
def report(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="The suite's file or its name.")],
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Write the leaderboard, from MLflow alone."""
    from tlbench.store.on_mlflow import prepare as resolve

    _report(_suite_name(suite), resolve(tracking_uri, _home(home).root), reports)


@app.command()
def ui(
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 5000,
) -> None:
    """Serve MLflow's own pages on this machine only."""
    import subprocess

    from tlbench.store.on_mlflow import prepare as resolve

    uri = resolve(tracking_uri, _home(home).root)
    command = ["mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    raise typer.Exit(subprocess.run([sys.executable, "-m", *command], check=False).returncode)


def _home(path: Path | None) -> Home:
    from tlbench.execution.home import Home

    return Home.at(path)


def _prepare(suite: Path, home: Home) -> Prepared:
    from tlbench.execution.prepare import prepare

    with _telling() as opening:
        prepared = prepare(suite, home.artifacts, opening)
    for warning in prepared.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}")
    return prepared


@contextmanager
def _telling() -> Iterator[Any]:
    """Show which dataset is being opened, in a terminal only."""
    with err.status("reading the suite") as shown:
        yield lambda name: shown.update(f"opening {escape(name)}")


def _suite_name(text: str) -> str:
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        return text
    from tlbench.core.load import load
    from tlbench.execution.prepare import catalog

    return load(path, catalog()).name


def _tell_backlog(backlog: Backlog, suite: Path) -> None:
    if backlog.count:
        err.print(
            f"[yellow]{backlog.count} results are not in MLflow yet[/]: {escape(backlog.error)}\n"
            f"  they are safe here; `tlbench sync {escape(str(suite))}` or the next run sends them"
        )


def _report(name: str, uri: str, folder: Path, must: bool = True) -> None:
    """Write and show the report; where MLflow lacks results anyway, a report that cannot be made is a note."""
    from tlbench.report.page import gather, save
    from tlbench.report.terminal import terminal_table
    from tlbench.store.on_mlflow import without_credentials

    try:
        gathered = gather(name, uri)
    except UserError as error:
        if must:
            raise
        err.print(f"[yellow]no report[/]: {escape(error.message)}")
        return
    paths = save(gathered, folder)
    out.print(terminal_table(name, gathered.boards))
    out.print(f"leaderboard  {escape(str(paths.index))}   (open it in a browser)")
    out.print(f"MLflow       {escape(without_credentials(uri))}   (`tlbench ui` shows it)")
