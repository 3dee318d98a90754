"""Writes the report of suites to files, and shows the leaderboard in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from tlbench.cli.output import err, out

if TYPE_CHECKING:
    from tlbench.report.report_data import Report
    from tlbench.store.workspace import Workspace


@dataclass(frozen=True)
class WrittenReport:
    """A report, and whether all of its sections could be shown."""

    report: Report
    is_whole: bool


def write_report(names: list[str], uri: str, folder: Path, workspace: Workspace) -> WrittenReport:
    """Write and show the report.

    A section that cannot be shown is named with what happened and where; the others are written.

    Args:
        names: Names of the suites, which are joined.
        uri: MLflow's store.
        folder: Where reports are written.
        workspace: Where audits are kept.

    Raises:
        UserError: MLflow cannot be read, or has no such suite.
    """
    from tlbench.cli.leaderboard_table import terminal_table
    from tlbench.report.page import save
    from tlbench.report.report_data import read_report
    from tlbench.store.addresses import without_credentials

    report = read_report(names, uri, workspace.root)
    paths = save(report, folder)
    out.print(terminal_table(report.results.suite, report.boards, out.width))
    for warning in report.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}")
    for failure in paths.failures:
        err.print(f"[red]error[/] {escape(str(failure))}")
    out.print(f"leaderboard  {escape(str(paths.index))}   (open it in a browser)")
    out.print(f"MLflow       {escape(without_credentials(uri))}   (`tlbench ui` shows it)")
    return WrittenReport(report, is_whole=not paths.failures)
