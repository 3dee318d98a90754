"""Writes the report of suites to files, and shows the leaderboard in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from tlbench.api import report as reporting
from tlbench.cli.output import err, out

if TYPE_CHECKING:
    from tlbench.api.report import WrittenReport
    from tlbench.store.workspace import Workspace


def write_report(
    names: list[str], uri: str, folder: Path, workspace: Workspace, freeze: str | None = None
) -> WrittenReport:
    """Write a report as :func:`tlbench.api.report.write_report` does, and show its leaderboard."""
    from tlbench.cli.leaderboard_table import terminal_table
    from tlbench.store.addresses import without_credentials

    written = reporting.write_report(names, uri, folder, workspace, freeze)
    report = written.report
    out.print(terminal_table(report.results.suite, report.boards, out.width))
    if report.published:
        from tlbench.cli.published_table import published_table

        out.print(published_table(report.published))
    for warning in report.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}")
    for failure in written.paths.failures:
        err.print(f"[red]error[/] {escape(str(failure))}")
    out.print(f"leaderboard  {escape(str(written.index))}   (open it in a browser)")
    out.print(f"MLflow       {escape(without_credentials(uri))}   (`tlbench ui` shows it)")
    if written.frozen is not None:
        out.print(f"frozen       {escape(str(written.frozen))}   (`tlbench compare` reads it)")
    return written
