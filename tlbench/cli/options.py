"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SuitePath = Annotated[Path, typer.Argument(metavar="SUITE", help="The suite file, e.g. suites/quickstart.yaml.")]
WorkspacePath = Annotated[
    Path | None,
    typer.Option(
        "--workspace", help="Where results and artifacts are kept.", show_default="$TLBENCH_WORKSPACE, else .tlbench"
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
Reports = Annotated[Path, typer.Option("--reports", help="Where reports are written.")]
