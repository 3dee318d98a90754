"""Says what MLflow still lacks of a suite's results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from tlbench.cli.output import err

if TYPE_CHECKING:
    from tlbench.store.mlflow.background_writer import Backlog


def print_backlog(backlog: Backlog, suite: Path) -> None:
    """Say what MLflow had lost and has again, how many results it lacks, if any, why, and how they get there."""
    if backlog.mended:
        err.print(f"[yellow]note[/] {escape(backlog.mended)}")
    if backlog.count:
        results = "1 result is" if backlog.count == 1 else f"{backlog.count} results are"
        err.print(
            f"[yellow]{results} not in MLflow yet[/]: {escape(backlog.error)}\n"
            f"  safe in the ledger; `tlbench sync {escape(str(suite))}` or the next run sends what is missing"
        )
    elif backlog.error:
        err.print(f"[yellow]whether every result is in MLflow is not known[/]: {escape(backlog.error)}")
