"""The command line: each command a few lines over the rooms that do the work, imported only when it runs."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

import tlbench
from tlbench.cli import inspect_commands as looking
from tlbench.cli import report_commands as reporting
from tlbench.cli import run_commands as running
from tlbench.cli.output import err
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
for room in (looking, running, reporting):
    for name, command in room.COMMANDS.items():
        app.command(name=name)(command)

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
