"""The command ``rescore``: the leaderboard under another metric, without running anything again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import suite_name
from tlbench.cli.options import TrackingUri, WorkspacePath
from tlbench.cli.output import out
from tlbench.core.errors import UserError


def rescore(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's file or its name.")],
    metric: Annotated[str, typer.Option(metavar="NAME", help="The metric, e.g. auroc; `tlbench list metrics`.")],
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the score of every cell.", show_default=False)
    ] = None,
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show the leaderboard under another metric, from the test answers that runs keep."""
    from tlbench.api.rescore import rescored_suite
    from tlbench.api.results import results_frame
    from tlbench.cli.leaderboard_table import terminal_table

    if csv is not None and csv.exists():
        raise UserError(f"{csv}: there is such a file", "name another one; nothing is overwritten")
    found = rescored_suite(suite, metric, workspace, tracking_uri)
    out.print(terminal_table(suite_name(suite), found.report.boards, out.width))
    cells = len(found.report.results.done)
    if found.left_out:
        out.print(f"left out: {found.left_out} of {cells + found.left_out} cells, whose test answers were not kept")
    if csv is not None:
        results_frame(found.report.results).to_csv(csv, index=False)
        out.print(f"scores       {escape(str(csv))}")
