"""The command ``compare``: two selections of results, or two frozen reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace, suite_name
from tlbench.cli.options import Json, Reports, TrackingUri, WorkspacePath
from tlbench.cli.output import out, print_json

if TYPE_CHECKING:
    from tlbench.report.results import Results


def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help='A method, a selector such as "method=lora shots<=5", or a frozen tag.')
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, given in the same way.")],
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
        uri = prepare_tracking(tracking_uri, open_workspace(workspace).root)
        return load_several(list(map(suite_name, suites or ())), uri)

    output = compare_names(first, second, reports, load)
    if as_json:
        print_json(output.values)
    else:
        out.print(escape(output.text))
