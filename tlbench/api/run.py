"""``tlbench.run``: runs what a suite lists and is not done yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbench.api.open_suite import open_suite, open_workspace
from tlbench.api.plan import status_of

if TYPE_CHECKING:
    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.planning.run_request import RunRequest
    from tlbench.planning.status import FailureReason, SuiteStatus
    from tlbench.runner.observer import RunObserver
    from tlbench.runner.run_suite import RunSummary
    from tlbench.store.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        suite: Name of the suite.
        summary: Everything, as the command ``run`` tells it.
        notes: What a reader must know of the data and of the search.
        failures: Why cells of the suite failed, now or before, the most frequent reason first: each has ``reason`` and
            the cells' ``records``.
    """

    suite: str
    summary: RunSummary
    notes: tuple[str, ...]
    failures: tuple[FailureReason, ...]

    @property
    def ran(self) -> int:
        """Number of cells that this run has done; 0 where all were done before."""
        return self.summary.ran

    @property
    def failed(self) -> int:
        """Number of cells that were asked for and failed."""
        return self.summary.failed

    @property
    def left(self) -> int:
        """Number of cells that were asked for and have no result, as a limit of the suite was reached."""
        return self.summary.left

    @property
    def is_complete(self) -> bool:
        """Whether every cell that was asked for has a result."""
        return not self.failed and not self.left

    @property
    def unsent(self) -> int:
        """Number of results that MLflow could not be given yet; the next run sends them."""
        return self.summary.backlog.count

    def __str__(self) -> str:
        parts = [f"{self.ran} cell{'s' * (self.ran != 1)} run"]
        parts += [f"{self.failed} failed ({self.failures[0].reason})"] if self.failed and self.failures else []
        parts += [f"{self.left} left, a limit is reached"] if self.left else []
        parts += [f"{self.unsent} not in MLflow yet: {self.summary.backlog.error}"] if self.unsent else []
        return f"{self.suite}: {' · '.join(parts)}"

    def __repr__(self) -> str:
        return f"<Run {self}>"


def run(
    suite: AnySuite,
    *,
    only: str = "",
    skip: str = "",
    force: str = "",
    retry_failed: bool = False,
    address: str | None = None,
    workspace: AnyPath | None = None,
    tracking_uri: str | None = None,
    progress: bool | None = None,
) -> Run:
    """Run what a suite lists and is not done yet; the same call continues after any interruption.

    Results go to the workspace's ledger one by one and to MLflow behind it. A cell that fails is no exception: it is
    counted, with its reason. Ray is started for the run, or joined at ``address``, and shut down after it.

    Args:
        suite: A suite file, a dictionary, or a :class:`tlbench.Suite`.
        only: Selector of the cells to run, e.g. ``"method=fine* shots<=5"``; also ``"failed"`` or ``"stale"``.
        skip: Selector of cells to leave out.
        force: Selector of cells to run again though they are done.
        retry_failed: Run failed cells again.
        address: A running Ray cluster; None is this machine.
        workspace: Where results and artifacts are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the
            working directory.
        tracking_uri: MLflow's store or server; None is ``$MLFLOW_TRACKING_URI``, else SQLite in the workspace.
        progress: Whether to show how it goes on; None shows it in notebooks only.

    Raises:
        UserError: The suite, its data, a selector or an address is wrong, or Ray runs in this process already.
        KeyboardInterrupt: The user stopped it; what was under way has been finished and kept.
    """
    from tlbench.api.progress import observer_for
    from tlbench.planning.run_request import RunRequest
    from tlbench.planning.status import failure_reasons

    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    request = RunRequest(only=only, skip=skip, force=force, retry_failed=retry_failed, address=address)
    summary = run_opened(prepared, place, request, tracking_uri, observer_for(progress))
    if summary.interrupted:
        raise KeyboardInterrupt
    with place.ledger() as ledger:
        reasons = failure_reasons(prepared, ledger) if summary.failed else []
    return Run(prepared.suite.name, summary, prepared.warnings, tuple(reasons))


def run_opened(
    prepared: PreparedSuite,
    workspace: Workspace,
    request: RunRequest,
    tracking_uri: str | None,
    observer: RunObserver,
    before: Callable[[SuiteStatus], None] | None = None,
) -> RunSummary:
    """Run a suite that has been opened.

    Args:
        prepared: The suite.
        workspace: Where results and artifacts are kept.
        request: What to run, and on which cluster.
        tracking_uri: MLflow's store as the user gave it, or None.
        observer: Receives the events of the run.
        before: Called with the status of the suite, before anything runs.

    Raises:
        UserError: A selector matches nothing; else as :func:`tlbench.runner.run_suite.run_suite`.
    """
    from tlbench.planning.run_request import check_selectors
    from tlbench.runner.run_suite import run_suite

    check_selectors(request, prepared.plan.cells)
    if before is not None:
        before(status_of(prepared, workspace))
    return run_suite(prepared, workspace, request, tracking_uri, observer)
