"""Runs a suite from request to leaderboard: plan, session, searches, cells, summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tlbench.core.cell import Cell
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.run_request import RunRequest, cells_to_run, requested_cells
from tlbench.planning.search_results import SearchResult, search_results
from tlbench.planning.stale_searches import plan_status, restart_stale_searches
from tlbench.runner.graceful_stop import graceful_stop
from tlbench.runner.observer import RunObserver
from tlbench.runner.run_cells import run_cells
from tlbench.runner.run_context import RunContext, StageEnd
from tlbench.runner.run_searches import run_searches
from tlbench.runner.session import RaySession
from tlbench.runner.tracking import WritingObserver, claim
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog
from tlbench.store.mlflow.tracking_uri import prepare_tracking
from tlbench.store.workspace import Workspace, driver_name
from tlbench.suite.plan import PlanStatus


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        ran: Number of cells committed by this run.
        failed: Number of cells that the user requested and that failed.
        left: Number of cells that the user requested and that have no result.
        interrupted: Whether the user stopped it.
        over_budget: Whether a limit of the suite stopped it.
        tracking: MLflow's store.
        backlog: What MLflow still lacks.
    """

    ran: int
    failed: int
    left: int
    interrupted: bool
    over_budget: bool
    tracking: str
    backlog: Backlog


@dataclass(frozen=True)
class TuneSummary:
    """How searches ended.

    Attributes:
        complete: Whether all of them have ended.
        over_budget: Whether a limit of the suite kept them from it.
        results: What each has found so far.
        backlog: What MLflow still lacks.
    """

    complete: bool
    over_budget: bool
    results: list[SearchResult]
    backlog: Backlog


def run_suite(
    prepared: PreparedSuite, workspace: Workspace, request: RunRequest, tracking: str | None, observer: RunObserver
) -> RunSummary:
    """Run what the user asks for and is not done yet; results go to the ledger at once and to MLflow behind it.

    Cells that wait for a search run after it, in the same Ray session, unless the search was kept from its end.

    Args:
        prepared: The suite.
        workspace: Where results and artifacts are kept.
        request: What to run, and on which cluster.
        tracking: MLflow's store as the user gave it, or None.
        observer: Receives the events of the run.

    Raises:
        UserError: A selector, the cluster's address or the tracking URI is wrong, or trials cannot run.
    """
    uri = prepare_tracking(tracking, workspace.root)
    cells_end, chosen = StageEnd(), list[Cell]()
    with workspace.ledger() as ledger:
        writer = _open_writer(prepared, workspace, ledger, uri)
        with _running(workspace, ledger, request, WritingObserver(writer, observer)) as context:
            searched, restarted = restart_stale_searches(prepared, ledger, request)
            search_end = _search(searched, restarted, request, context)
            prepared = searched.with_winners(ledger)
            claim(prepared, ledger)
            status = plan_status(prepared, ledger)
            again, fresh = cells_to_run(status, request)
            fresh += _tuned_anew(restarted, searched, prepared, status)
            again, fresh = (
                [cell for cell in cells if cell.id not in prepared.searches.waiting] for cells in (again, fresh)
            )
            chosen = [*again, *fresh]
            if chosen and search_end.complete:
                cells_end = run_cells(again, fresh, prepared, context)
        backlog = _close(writer)
        after = plan_status(prepared, ledger)
    wanted = {cell.id for cell in requested_cells(request, prepared.plan.cells, chosen)} | prepared.searches.waiting
    failed, left = (sum(cell.id in wanted for cell in cells) for cells in (after.failed, after.todo))
    return RunSummary(
        ran=cells_end.committed,
        failed=failed,
        left=left,
        interrupted=search_end.interrupted or cells_end.interrupted,
        over_budget=search_end.over_budget or cells_end.over_budget,
        tracking=uri,
        backlog=backlog,
    )


def tune_suite(
    prepared: PreparedSuite, workspace: Workspace, request: RunRequest, tracking: str | None, observer: RunObserver
) -> TuneSummary:
    """Run the searches of a suite and nothing else.

    Args:
        prepared: The suite.
        workspace: Where results and artifacts are kept.
        request: Which cells' settings to search, and on which cluster.
        tracking: MLflow's store as the user gave it, or None.
        observer: Receives the events of the run.

    Raises:
        UserError: Trials cannot run, or no cluster answers.
    """
    uri = prepare_tracking(tracking, workspace.root)
    with workspace.ledger() as ledger:
        writer = _open_writer(prepared, workspace, ledger, uri)
        with _running(workspace, ledger, request, WritingObserver(writer, observer)) as context:
            prepared, restarted = restart_stale_searches(prepared, ledger, request)
            end = _search(prepared, restarted, request, context)
        backlog = _close(writer)
        return TuneSummary(end.complete, end.over_budget, search_results(prepared.searches, ledger), backlog)


@contextmanager
def _running(workspace: Workspace, ledger: Ledger, request: RunRequest, observer: RunObserver) -> Iterator[RunContext]:
    """Yield what the stages of a run share. Signals are requests to stop before Ray starts and until it is gone."""
    with (
        graceful_stop(observer.on_stop_requested) as stop,
        RaySession(workspace.root, request.address) as session,
    ):
        yield RunContext(workspace, ledger, session, observer, stop, driver_name())


def _search(prepared: PreparedSuite, restarted: list[Cell], request: RunRequest, context: RunContext) -> StageEnd:
    """Run the searches that the requested cells wait for, and those of some cells anew."""
    fresh = cells_to_run(plan_status(prepared, context.ledger), request).fresh
    return run_searches(fresh, prepared, context, restarted)


def _tuned_anew(
    restarted: list[Cell], before: PreparedSuite, after: PreparedSuite, status: PlanStatus
) -> Iterator[Cell]:
    """Return the cells to do that some cells, which waited for a search before, have become after it."""
    keys = {before.searches.problems[cell.id].key for cell in restarted}
    became = {after.searches.found[key] for key in keys & after.searches.found.keys()}
    return (cell for cell in status.todo if cell.id in became)


def _open_writer(prepared: PreparedSuite, workspace: Workspace, ledger: Ledger, uri: str) -> BackgroundWriter:
    claim(prepared, ledger)
    return BackgroundWriter(ledger.path, uri, workspace.root, prepared.suite.name)


def _close(writer: BackgroundWriter) -> Backlog:
    writer.start()  # where nothing ran, earlier runs may have left something to write
    return writer.close()
