"""What MLflow gets of a suite: which cells and trials it is to have, and when they are written."""

from __future__ import annotations

from tlbench.core.record import Record
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.search_plan import planned_settings
from tlbench.runner.observer import RunObserver, Stage
from tlbench.runner.suite_names import claim_name
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow import schema
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog
from tlbench.store.mlflow.sync import sync
from tlbench.store.mlflow.tracking_uri import prepare_tracking
from tlbench.store.workspace import Workspace


def claim(prepared: PreparedSuite, ledger: Ledger) -> None:
    """Note in the ledger which cells and trials the suite has, and what its experiment in MLflow says of it.

    Raises:
        UserError: Another suite file has its name (see :mod:`tlbench.runner.suite_names`).
    """
    claim_name(prepared, ledger)
    planned = planned_settings(prepared.plan, prepared.searches)
    count = sum(len(each.seeds) for each in planned)
    tags = schema.experiment_tags(
        prepared.baseline, prepared.text, count, prepared.plan.summarize_not_applicable(), planned
    )
    ids = (*(cell.id for cell in prepared.plan.cells), *prepared.searches.trial_ids)
    ledger.claim(prepared.suite.name, ids, tags)


class WritingObserver:
    """Wakes the writer to MLflow whenever there is something new in the ledger, and passes everything on.

    Args:
        writer: Is started with the first stage: its thread imports mlflow, best after torch and ray are imported.
        observer: Receives the same events.
    """

    def __init__(self, writer: BackgroundWriter, observer: RunObserver) -> None:
        self._writer = writer
        self._observer = observer

    def on_start(self, stage: Stage) -> None:
        """Start the writer."""
        self._observer.on_start(stage)
        self._writer.start()

    def on_record(self, record: Record) -> None:
        """Wake the writer."""
        self._observer.on_record(record)
        self._writer.notify()

    def on_end(self) -> None:
        """Pass it on."""
        self._observer.on_end()

    def on_stop_requested(self) -> None:
        """Pass it on."""
        self._observer.on_stop_requested()


def sync_suite(prepared: PreparedSuite, workspace: Workspace, tracking: str | None) -> tuple[str, Backlog]:
    """Write to MLflow what it lacks of a suite.

    Args:
        prepared: The suite.
        workspace: Where its results are kept.
        tracking: MLflow's store as the user gave it, or None.

    Returns:
        The address of the store, and what it still lacks.
    """
    uri = prepare_tracking(tracking, workspace.root)
    with workspace.ledger() as ledger:
        claim(prepared, ledger)
        path = ledger.path
    return uri, sync(path, uri, workspace.root, [prepared.suite.name])[prepared.suite.name]
