"""What the stages of one run share, and how a stage ends."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from tlbench.core.record import Record
from tlbench.core.resources import Resources
from tlbench.planning.budget import Budget
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.attempts import Attempts
from tlbench.runner.observer import RunObserver
from tlbench.runner.session import RaySession
from tlbench.store.ledger import Ledger
from tlbench.store.workspace import Workspace


@dataclass(frozen=True)
class RunContext:
    """What the searches and the cells of one run share.

    Attributes:
        workspace: Where results and artifacts are kept.
        ledger: Where records are committed.
        session: The Ray cluster; started by the first stage that has something to do on it.
        observer: Receives the events of the run.
        stop: Set when the user wants to stop: nothing more starts.
        owner: Name of this driver, for leases.
        gate: Knows which artifacts there are.
    """

    workspace: Workspace
    ledger: Ledger
    session: RaySession
    observer: RunObserver
    stop: threading.Event
    owner: str
    gate: ArtifactGate = field(default_factory=ArtifactGate)

    def attempts(self, budget: Budget, resources: Resources) -> Attempts:
        """Return what decides about the attempts of a stage.

        Args:
            budget: What the suite may use, and has used before the stage.
            resources: What one cell or trial holds.
        """
        return Attempts(self.ledger, self.owner, budget, resources, self._on_record)

    def _on_record(self, record: Record) -> None:
        """Keep the test's answers beside the ledger, and pass the record on."""
        if record.outcome is not None and record.outcome.test_answers:
            with suppress(OSError):  # of a full disk the ledger tells; without these, no result is lost
                self.workspace.answers.add(record.outcome.logits, record.outcome.test_answers)
        self.observer.on_record(record)


@dataclass(frozen=True)
class StageEnd:
    """How a stage of a run ended.

    Attributes:
        committed: Number of records that it committed.
        interrupted: Whether the user stopped it, or another driver is still at it.
        over_budget: Whether a limit of the suite stopped it.
    """

    committed: int = 0
    interrupted: bool = False
    over_budget: bool = False

    @property
    def complete(self) -> bool:
        """Whether all that was to do is done."""
        return not (self.interrupted or self.over_budget)
