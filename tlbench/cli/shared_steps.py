"""Steps that several commands share: open the workspace and the suite, write the report, tell what MLflow lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from tlbench.cli.output import err, out
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.report.report_data import Report
    from tlbench.store.mlflow.background_writer import Backlog
    from tlbench.store.workspace import Workspace

_NOTES = 10  # about the data of a suite; more tell nobody anything


def workspace_at(path: Path | None) -> Workspace:
    """Return the workspace that was asked for."""
    from tlbench.store.workspace import Workspace

    return Workspace.at(path)


def prepare(suite: Path, workspace: Workspace) -> PreparedSuite:
    """Return a suite that is ready to run, with what its finished searches found."""
    from tlbench.planning import prepare as preparing

    _must_exist(suite)
    with _telling() as opening:
        prepared = preparing.prepare(suite, workspace.artifacts, opening)
    for warning in prepared.warnings[:_NOTES]:
        err.print(f"[yellow]note[/] {escape(warning)}")
    if len(prepared.warnings) > _NOTES:
        err.print(f"[yellow]note[/] and {len(prepared.warnings) - _NOTES} more")
    if prepared.searches.waiting:
        with workspace.ledger() as ledger:
            prepared = prepared.with_winners(ledger)
    return prepared


def _must_exist(suite: Path) -> None:
    if suite.exists():
        return
    from tlbench.cli.listing import suite_files
    from tlbench.core.errors import nearest

    near = [str(path) for path in suite_files()]
    raise UserError(f"{suite}: no such file", nearest(str(suite), near) if near else "give the path of a suite file")


@contextmanager
def _telling() -> Iterator[Any]:
    """Show which dataset is being opened, in a terminal only."""
    with err.status("reading the suite") as shown:
        yield lambda name: shown.update(f"opening {escape(name)}")


def suite_name(text: str) -> str:
    """Return the name of a suite that is told by its file or by its name."""
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        return text
    _must_exist(path)
    from tlbench.planning.catalog import full_catalog
    from tlbench.suite.load import load

    return load(path, full_catalog()).name


def tell_backlog(backlog: Backlog, suite: Path) -> None:
    """Say how much MLflow lacks, if anything, and how it gets there."""
    if backlog.count:
        results = "1 result is" if backlog.count == 1 else f"{backlog.count} results are"
        err.print(
            f"[yellow]{results} not in MLflow yet[/]: {escape(_cut(backlog.error))}\n"
            f"  safe in the ledger; `tlbench sync {escape(str(suite))}` or the next run sends what is missing"
        )


def _cut(text: str) -> str:
    """Return a text without its middle where it is long: libraries say what they tried first, and the reason last."""
    return text if len(text) <= 200 else f"{text[:95]} ... {text[-100:]}"


@dataclass(frozen=True)
class WrittenReport:
    """A report, and whether all of its sections could be shown."""

    report: Report
    is_whole: bool


def write_report(
    names: list[str], uri: str, folder: Path, workspace: Workspace, must: bool = True
) -> WrittenReport | None:
    """Write and show the report; where MLflow lacks results anyway, a report that cannot be made is a note.

    A section that cannot be shown is named with what happened and where; the others are written.
    """
    from tlbench.cli.leaderboard_table import terminal_table
    from tlbench.report.page import save
    from tlbench.report.report_data import read_report
    from tlbench.store.addresses import without_credentials

    try:
        report = read_report(names, uri, workspace.root)
    except UserError as error:
        if must:
            raise
        err.print(f"[yellow]no report[/]: {escape(error.message)}")
        return None
    paths = save(report, folder)
    out.print(terminal_table(report.results.suite, report.boards))
    for warning in report.warnings:
        err.print(f"[yellow]note[/] {escape(warning)}")
    for failure in paths.failures:
        err.print(f"[red]error[/] {escape(str(failure))}")
    out.print(f"leaderboard  {escape(str(paths.index))}   (open it in a browser)")
    out.print(f"MLflow       {escape(without_credentials(uri))}   (`tlbench ui` shows it)")
    return WrittenReport(report, is_whole=not paths.failures)
