"""Writes to MLflow what it lacks of suites that were run before, when nothing is running."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from tlbench.store.ledger import Ledger
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog


def sync(
    ledger_path: Path,
    uri: str,
    workspace: Path,
    suites: Iterable[str] | None = None,
    *,
    patience: float = 120.0,
    on_settled: Callable[[str, int], None] = lambda suite, count: None,
) -> dict[str, Backlog]:
    """Write what MLflow lacks of suites; return what is left, by suite.

    Args:
        ledger_path: The ledger.
        uri: From :func:`tlbench.store.mlflow.tracking_uri.prepare_tracking`.
        workspace: Folder of the workspace.
        suites: Names; all that were run here by default.
        patience: Seconds without progress after which a suite is left.
        on_settled: Called with the suite and the number of its cells settled so far.

    Raises:
        UserError: The ledger cannot be read.
    """
    with Ledger(ledger_path) as ledger:
        names = list(ledger.suites() if suites is None else suites)
    left = {}
    for suite in names:
        writer = BackgroundWriter(ledger_path, uri, workspace, suite, partial(on_settled, suite))
        writer.start()
        left[suite] = writer.close(patience)
    return left
