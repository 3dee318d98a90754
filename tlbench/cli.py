"""The command line: each command a few lines over the rooms that do the work, imported only when it runs."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

import tlbench
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.execution.home import Home
    from tlbench.execution.prepare import Prepared
    from tlbench.report.data import Results
    from tlbench.report.page import Report
    from tlbench.store.sync import Backlog

app = typer.Typer(
    help="Compare transfer-learning methods fairly: one YAML suite in, one leaderboard out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

SuitePath = Annotated[Path, typer.Argument(metavar="SUITE", help="The suite file, e.g. suites/quickstart.yaml.")]
HomePath = Annotated[
    Path | None,
    typer.Option("--home", help="Where results and artifacts are kept.", show_default="$TLBENCH_HOME, else .tlbench"),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow's store or server.",
        show_default="$MLFLOW_TRACKING_URI, else SQLite in the home",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Reports = Annotated[Path, typer.Option("--reports", help="Where reports are written.")]

# What the system says of a path that the user chose badly; any other such error is ours.
_ON_PATHS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST
}  # fmt: skip


def main() -> NoReturn:
    """Run the command line; a user's mistake ends with one message and exit code 2."""
    try:
        code = app(standalone_mode=False) or 0
    except UserError as error:
        code = _complain(error)
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        if error.errno not in _ON_PATHS or error.filename is None:
            raise
        code = _complain(UserError(f"{error.filename}: {os.strerror(error.errno or 0).lower()}"))
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        error.show()  # type: ignore[attr-defined]  # a wrong command or option, as click words it
        code = 2
    if code == 130:
        err.print("stopped")
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _tlbench(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(tlbench.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _complain(error: UserError) -> int:
    err.print(f"[bold red]error[/] {escape(error.message)}")
    if error.hint:
        err.print(f"  {escape(error.hint)}")
    return 2


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
    if not rows:
        err.print(f"there are no {what} here" + (": no file suites/*.yaml" if what == "suites" else ""))
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
    from tlbench.execution.telling import counted

    prepared = _prepare(suite, _home(home))
    absent = sum(entry.count for entry in prepared.plan.not_applicable)
    why = f", {absent} not applicable (`tlbench plan {escape(str(suite))}` says why)" if absent else ""
    out.print(f"{escape(str(suite))}: fine, {counted(len(prepared.plan.cells))}{why}")


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
        return
    out.print(seen.as_text())
    if seen.standing.todo:
        out.print(f"  `tlbench run {escape(str(suite))}` runs what is to do")


@app.command()
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
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Run what a suite lists and is not done yet; the same command continues after any interruption."""
    from tlbench.execution.asked import Wish, continuing, refuse_idle_selectors
    from tlbench.execution.outlook import outlook
    from tlbench.execution.run_suite import run_suite
    from tlbench.execution.telling import counted

    place = _home(home)
    prepared = _prepare(suite, place)
    wish = Wish(only=only, skip=skip, force=force, retry_failed=retry_failed, address=address)
    refuse_idle_selectors(wish, prepared.plan.cells)
    with place.ledger() as ledger:
        out.print(outlook(prepared, ledger).headline())
    summary = run_suite(prepared, place, wish, tracking_uri, out)
    if not summary.ran and not summary.left:
        out.print("nothing left to run")
    _tell_backlog(summary.backlog, suite)
    if prepared.plan.cells:
        _report([prepared.suite.name], summary.tracking, reports, place, must=not summary.backlog.count)
    if summary.left:
        with place.ledger() as ledger:
            limits = outlook(prepared, ledger).limits()
        why, then = ("; ".join(limits), f"raise it in {suite}, then") if summary.capped else ("stopped", "to continue")
        elsewhere = reports if reports != Path("reports") else None
        options = {"--home": home, "--tracking-uri": tracking_uri, "--reports": elsewhere}
        err.print(f"[yellow]{escape(why)}[/]; {counted(summary.left)} left")
        err.print(f"  {escape(then)}: {escape(continuing(wish, suite, options))}")
    if summary.failed:
        err.print(f"[red]{counted(summary.failed)} failed[/]: `tlbench status {escape(str(suite))}` tells why")
    if summary.failed or summary.left:
        raise typer.Exit(1)


@app.command()
def tune(
    suite: SuitePath,
    only: Annotated[
        str, typer.Option(help='Search only for these cells, e.g. "method=lora shots<=5".', show_default=False)
    ] = "",
    address: Annotated[str | None, typer.Option(help="A running Ray cluster.", show_default="this machine")] = None,
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Run the searches of a suite only; `run` goes on with what they found."""
    from tlbench.execution.asked import Wish, refuse_idle_selectors
    from tlbench.execution.run_suite import tune_suite
    from tlbench.execution.search.told import as_rows, as_table

    place = _home(home)
    prepared = _prepare(suite, place)
    if prepared.suite.search is None:
        raise UserError(f"{suite} has no search", "add `search: {trials: 16}`")
    wish = Wish(only=only, address=address)
    refuse_idle_selectors(wish, prepared.plan.cells)
    ended, found, _, backlog = tune_suite(prepared, place, wish, tracking_uri, err if as_json else out)
    if as_json:
        typer.echo(json.dumps(as_rows(found), indent=2))
    else:
        out.print(as_table(found))
    _tell_backlog(backlog, suite)
    if not ended:
        err.print("[yellow]stopped[/]: the same command continues")
        raise typer.Exit(1)


@app.command()
def status(
    suite: SuitePath,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its id and how it stands.")] = False,
    home: HomePath = None,
) -> None:
    """Show how a suite stands, and why cells failed."""
    from tlbench.execution.outlook import failures, outlook
    from tlbench.execution.telling import what

    place = _home(home)
    prepared = _prepare(suite, place)
    with place.ledger() as ledger:
        seen = outlook(prepared, ledger)
        out.print(seen.as_text())
        for text in failures(prepared, ledger):
            out.print(escape(text))
    for each, standing in seen.by_cell() if cells else ():
        out.print(f"{each.id}  {standing.ljust(6)}  {escape(what(each.describe()))}")


@app.command()
def cell(
    cell_id: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, or its first few characters.")],
    home: HomePath = None,
    as_json: Json = False,
) -> None:
    """Print one cell's stored record: settings, scores, cost, environment, traceback."""
    from tlbench.execution.telling import told

    place = _home(home)
    with place.ledger() as ledger:
        record = ledger.record(cell_id)
    if as_json:
        body = record.model_dump(mode="json", exclude={"outcome": {"correct"}})
        typer.echo(json.dumps({**body, "digest": record.digest}, indent=2))
        return
    for line in told(record):
        out.print(escape(line))


@app.command()
def sync(suite: SuitePath, home: HomePath = None, tracking_uri: TrackingUri = None) -> None:
    """Send results to MLflow that a run could not send."""
    from tlbench.execution.run_suite import send
    from tlbench.store.on_mlflow import without_credentials

    place = _home(home)
    prepared = _prepare(suite, place)
    with place.ledger() as ledger:
        if not ledger.done(cell.id for cell in prepared.plan.cells):
            out.print(f"nothing to send: no cell of {escape(prepared.suite.name)} has run")
            return
    uri, backlog = send(prepared, place, tracking_uri)
    _tell_backlog(backlog, suite)
    if backlog.count:
        raise typer.Exit(1)
    out.print(f"every result is in MLflow: {escape(without_credentials(uri))}")


@app.command()
def report(
    suites: Annotated[
        list[str], typer.Argument(metavar="SUITE...", help="A suite's file or its name; several are joined.")
    ],
    freeze: Annotated[
        str | None, typer.Option(metavar="TAG", help="Keep it for good under reports/frozen/TAG.", show_default=False)
    ] = None,
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
) -> None:
    """Write the leaderboard, from MLflow alone."""
    from tlbench.report import freeze as frozen
    from tlbench.store.on_mlflow import prepare as resolve

    if freeze is not None:
        frozen.refuse_tag(freeze, reports)
    names = list(dict.fromkeys(map(_suite_name, suites)))
    place = _home(home)
    gathered = _report(names, resolve(tracking_uri, place.root), reports, place)
    if freeze is not None and gathered is not None:
        out.print(
            f"frozen       {escape(str(frozen.freeze(gathered, freeze, reports)))}   (`tlbench compare` reads it)"
        )


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help='A method, a selector such as "method=lora shots<=5", or a frozen tag.')
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="What to hold it against, said the same way.")],
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", help="Only this suite's results; may be repeated.", show_default="all suites"),
    ] = None,
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    reports: Reports = Path("reports"),
    as_json: Json = False,
) -> None:
    """Hold two selections of results against each other, paired seed by seed, or two frozen tags."""
    from tlbench.report.data import load_several
    from tlbench.report.held import hold
    from tlbench.store.on_mlflow import prepare as resolve

    def load() -> Results:
        return load_several(list(map(_suite_name, suites or ())), resolve(tracking_uri, _home(home).root))

    values, told = hold(first, second, reports, load)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        out.print(escape(told))


@app.command()
def audit(
    suite: SuitePath,
    only: Annotated[
        str,
        typer.Option(help='Audit all these cells, e.g. "method=fine* shots=5 seed=0".', show_default="a small sample"),
    ] = "",
    home: HomePath = None,
    as_json: Json = False,
) -> None:
    """Prove that hidden labels reach no method, and look for test examples among what was trained on."""
    from tlbench.execution.audit.command import run_audit

    place = _home(home)
    found = run_audit(_prepare(suite, place), place, only, None if as_json else out)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    if not found.passed:
        raise typer.Exit(1)


@app.command()
def ui(
    home: HomePath = None,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 5000,
) -> None:
    """Serve MLflow's own pages on this machine only."""
    import signal
    import subprocess

    from tlbench.store.on_mlflow import prepare as resolve

    uri = resolve(tracking_uri, _home(home).root)
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *where]
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
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


def _home(path: Path | None) -> Home:
    from tlbench.execution.home import Home

    return Home.at(path)


def _prepare(suite: Path, home: Home) -> Prepared:
    from tlbench.execution.prepare import prepare

    _must_exist(suite)
    with _telling() as opening:
        prepared = prepare(suite, home.artifacts, opening)
    for warning in prepared.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}")
    if prepared.searches.waiting:
        with home.ledger() as ledger:
            prepared = prepared.found(ledger)
    return prepared


def _must_exist(suite: Path) -> None:
    if suite.exists():
        return
    from tlbench.core.errors import nearest
    from tlbench.execution.listing import suite_files

    near = [str(path) for path in suite_files()]
    raise UserError(f"{suite}: no such file", nearest(str(suite), near) if near else "give the path of a suite file")


@contextmanager
def _telling() -> Iterator[Any]:
    """Show which dataset is being opened, in a terminal only."""
    with err.status("reading the suite") as shown:
        yield lambda name: shown.update(f"opening {escape(name)}")


def _suite_name(text: str) -> str:
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        return text
    _must_exist(path)
    from tlbench.core.load import load
    from tlbench.execution.prepare import catalog

    return load(path, catalog()).name


def _tell_backlog(backlog: Backlog, suite: Path) -> None:
    if backlog.count:
        results = "1 result is" if backlog.count == 1 else f"{backlog.count} results are"
        err.print(
            f"[yellow]{results} not in MLflow yet[/]: {escape(_cut(backlog.error))}\n"
            f"  safe in the ledger; `tlbench sync {escape(str(suite))}` or the next run sends what is missing"
        )


def _cut(text: str) -> str:
    """Return a text without its middle where it is long: libraries say what they tried first, and the reason last."""
    return text if len(text) <= 200 else f"{text[:95]} ... {text[-100:]}"


def _report(names: list[str], uri: str, folder: Path, home: Home, must: bool = True) -> Report | None:
    """Write and show the report; where MLflow lacks results anyway, a report that cannot be made is a note."""
    from tlbench.report.page import gather, save
    from tlbench.report.terminal import terminal_table
    from tlbench.store.on_mlflow import without_credentials

    try:
        gathered = gather(names, uri, home.root)
    except UserError as error:
        if must:
            raise
        err.print(f"[yellow]no report[/]: {escape(error.message)}")
        return None
    paths = save(gathered, folder)
    out.print(terminal_table(gathered.results.suite, gathered.boards))
    for warning in gathered.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}")
    out.print(f"leaderboard  {escape(str(paths.index))}   (open it in a browser)")
    out.print(f"MLflow       {escape(without_credentials(uri))}   (`tlbench ui` shows it)")
    return gathered
