"""The application: its commands, and how each kind of error ends it.

What a command needs is imported only when it runs, so that help and lists start at once.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

import tlbench
from tlbench.cli import (
    audit,
    cell,
    check,
    compare,
    export,
    init,
    plan,
    predict,
    report,
    rescore,
    run,
    schema,
    status,
    sync,
    tune,
    ui,
)
from tlbench.cli import list as list_command
from tlbench.cli.output import err, replace_unknown_signs
from tlbench.core.errors import UserError

app = typer.Typer(
    help="Compare transfer-learning methods fairly: one YAML suite in, one leaderboard out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: "workspace" if name == "home" else name,  # --home: its name of old
    },
)
app.command("list")(list_command.list_names)
app.command("schema")(schema.schema)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("status")(status.status)
app.command("cell")(cell.cell)
app.command("run")(run.run)
app.command("tune")(tune.tune)
app.command("audit")(audit.audit)
app.command("sync")(sync.sync)
app.command("report")(report.report)
app.command("rescore")(rescore.rescore)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("predict")(predict.predict)
app.command("ui")(ui.ui)

# Errors about a path that the user chose; any other error of the system is a fault of ours.
_PATH_ERRORS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG
}  # fmt: skip


def main() -> NoReturn:
    """Run the command line; a user's mistake ends with one message and exit code 2."""
    replace_unknown_signs()
    try:
        code = app(standalone_mode=False) or 0
    except UserError as error:
        code = _print_error(error)
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        if error.errno not in _PATH_ERRORS or error.filename is None:
            raise
        code = _print_error(UserError(f"{error.filename}: {os.strerror(error.errno or 0).lower()}"))
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        error.show()  # type: ignore[attr-defined]  # a wrong command or option, as click words it
        code = 2
    if code == 130:
        err.print("stopped")
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(tlbench.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _print_error(error: UserError) -> int:
    err.print(f"[bold red]error[/] {escape(error.message)}")
    if error.hint:
        err.print(f"  {escape(error.hint)}")
    return 2
