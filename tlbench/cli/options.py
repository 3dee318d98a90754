"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.core.paths import expand


def as_path(text: object) -> Path:
    """Return a path that a user wrote."""
    return expand(str(text))


SuitePath = Annotated[
    Path, typer.Argument(metavar="SUITE", parser=as_path, help="The suite file, e.g. suites/quickstart.yaml.")
]
WorkspacePath = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        metavar="PATH",
        parser=as_path,
        help="Where results and artifacts are kept.",
        show_default="$TLBENCH_WORKSPACE, else .tlbench",
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow's store or server.",
        show_default="$MLFLOW_TRACKING_URI, else SQLite in the workspace",
    ),
]
ClusterAddress = Annotated[
    str | None, typer.Option("--address", help="A running Ray cluster.", show_default="this machine")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Reports = Annotated[Path, typer.Option("--reports", metavar="PATH", parser=as_path, help="Where reports are written.")]
