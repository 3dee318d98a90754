"""What the stages of one run share, and how a stage ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass

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
        observer: Is told how the run goes on.
        stop: Set when the user wants to stop: nothing more starts.
        owner: Name of this driver, for leases.
    """

    workspace: Workspace
    ledger: Ledger
    session: RaySession
    observer: RunObserver
    stop: threading.Event
    owner: str


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
