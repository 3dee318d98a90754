"""The command ``ui``: MLflow's own pages."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from tlbench.api.open_suite import open_workspace
from tlbench.cli.options import TrackingUri, WorkspacePath
from tlbench.cli.output import out


def ui(
    workspace: WorkspacePath = None,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 5000,
) -> None:
    """Serve MLflow's own pages on this machine only."""
    import signal
    import subprocess

    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    uri = prepare_tracking(tracking_uri, open_workspace(workspace).root)
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", *options]
    # The URI may hold a password, and everybody may read the arguments of a process.
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    out.print(f"http://127.0.0.1:{port} in a moment; Ctrl-C ends it")
    # A session of its own: on Ctrl-C all its processes are ended here, where by themselves they take up to a minute.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    raise typer.Exit(code)
