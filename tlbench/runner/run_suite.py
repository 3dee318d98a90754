"""Runs a suite from plan to leaderboard: what is to do, on Ray, into the ledger, behind it into MLflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from tlbench.core.cell import Cell
from tlbench.core.cost import Timings
from tlbench.core.record import Record
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.run_request import WORDS, RunRequest, requested
from tlbench.planning.status import budget_of
from tlbench.runner.graceful_stop import draining
from tlbench.runner.progress import Progress
from tlbench.runner.run_searches import Found, findings, run_searches
from tlbench.runner.scheduler import Drive
from tlbench.runner.slot_pool import Slots
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog
from tlbench.store.mlflow.sync import sync
from tlbench.store.mlflow.writer import prepare as prepare_tracking
from tlbench.store.workspace import Workspace, driver_name
from tlbench.suite.plan import PlanStatus
from tlbench.suite.selector import select


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        ran: Cells committed by this run.
        failed: Cells that were asked for and stand as failed.
        left: Cells that were asked for and have no result.
        interrupted: The user stopped it.
        capped: A limit of the suite stopped it.
        tracking: MLflow's store.
        backlog: What MLflow still lacks.
    """

    ran: int
    failed: int
    left: int
    interrupted: bool
    capped: bool
    tracking: str
    backlog: Backlog


@dataclass(frozen=True)
class Tuned:
    """How searches ended.

    Attributes:
        ended: All came to their end.
        capped: A limit of the suite kept them from it.
        found: What each has found so far.
        backlog: What MLflow still lacks.
    """

    ended: bool
    capped: bool
    found: list[Found]
    backlog: Backlog


def run_suite(
    prepared: PreparedSuite, workspace: Workspace, request: RunRequest, tracking: str | None, console: Console
) -> Summary:
    """Run what the user asks for and is not done yet; results go to the ledger at once and to MLflow behind it.

    Args:
        prepared: The suite.
        workspace: Where results and artifacts are kept.
        request: What to run.
        tracking: MLflow's store as the user gave it, or None.
        console: Where progress is shown.

    Raises:
        UserError: A selector, the cluster's address or the tracking URI is wrong.
    """
    uri = prepare_tracking(tracking, workspace.root)
    ended = (0, False, False)
    with workspace.ledger() as ledger:
        claim(prepared, ledger)
        writer = BackgroundWriter(ledger.path, uri, workspace.root, prepared.suite.name)
        searched, search_capped = search(prepared, workspace, ledger, writer, console, request)
        prepared = prepared.with_winners(ledger)
        claim(prepared, ledger)
        status = prepared.plan.status(ledger.result_infos(cell.id for cell in prepared.plan.cells))
        again, fresh = choose(status, request)
        cells = [cell for cell in (*again, *fresh) if cell.id not in prepared.searches.waiting]

        def begin() -> None:
            ledger.forget(cell.id for cell in again)  # not before the cluster stands: results outlive a wrong address
            writer.start()

        if cells and searched:
            ended = run_cells(
                cells,
                prepared,
                workspace,
                ledger,
                console,
                address=request.address,
                on_begin=begin,
                on_commit=writer.notify,
            )
        writer.start()
        backlog = writer.close()
        after = prepared.plan.status(ledger.result_infos(cell.id for cell in prepared.plan.cells))
    ran, interrupted, capped = ended
    wanted = {cell.id for cell in requested(request, prepared.plan.cells, cells)} | prepared.searches.waiting
    failed, left = (sum(cell.id in wanted for cell in found) for found in (after.failed, after.todo))
    stopped = interrupted or not (searched or search_capped)
    return Summary(ran, failed, left, stopped, capped or search_capped, uri, backlog)


def search(
    prepared: PreparedSuite,
    workspace: Workspace,
    ledger: Ledger,
    writer: BackgroundWriter,
    console: Console,
    request: RunRequest,
) -> tuple[bool, bool]:
    """Run the searches that the cells a user asks for wait for.

    Returns:
        Whether they came to their end, and whether a limit of the suite kept them from it.
    """
    status = prepared.plan.status(ledger.result_infos(cell.id for cell in prepared.plan.cells))
    budget = budget_of(prepared, ledger)
    ended = run_searches(
        choose(status, request)[1], prepared, workspace, ledger, writer, console, budget, request.address
    )
    return ended, budget.reached and not ended


def tune_suite(
    prepared: PreparedSuite, workspace: Workspace, request: RunRequest, tracking: str | None, console: Console
) -> Tuned:
    """Run the searches of a suite and nothing else.

    Args:
        prepared: The suite.
        workspace: Where results and artifacts are kept.
        request: Which cells' settings to search, and where.
        tracking: MLflow's store as the user gave it, or None.
        console: Where progress is shown.

    Raises:
        UserError: Trials cannot run, or no cluster answers.
    """
    uri = prepare_tracking(tracking, workspace.root)
    with workspace.ledger() as ledger:
        claim(prepared, ledger)
        writer = BackgroundWriter(ledger.path, uri, workspace.root, prepared.suite.name)
        ended, capped = search(prepared, workspace, ledger, writer, console, request)
        writer.start()
        return Tuned(ended, capped, findings(prepared.searches, ledger), writer.close())


def send(prepared: PreparedSuite, workspace: Workspace, tracking: str | None) -> tuple[str, Backlog]:
    """Write to MLflow what it lacks of a suite; return the store and what is left."""
    uri = prepare_tracking(tracking, workspace.root)
    with workspace.ledger() as ledger:
        claim(prepared, ledger)
        path = ledger.path
    return uri, sync(path, uri, workspace.root, [prepared.suite.name])[prepared.suite.name]


def claim(prepared: PreparedSuite, ledger: Ledger) -> None:
    """Note in the ledger which cells the suite has, and what MLflow is to say of the suite."""
    tags = layout.experiment_tags(
        prepared.baseline, prepared.text, len(prepared.plan.cells), prepared.plan.summarize_not_applicable()
    )
    ids = (*(cell.id for cell in prepared.plan.cells), *prepared.searches.trial_ids)
    ledger.claim(prepared.suite.name, ids, tags)


def choose(status: PlanStatus, request: RunRequest) -> tuple[list[Cell], list[Cell]]:
    """Return the cells to run again, whose results are to be taken back first, and those to run that have none.

    Raises:
        UserError: A selector is not understood.
    """
    only, skip = select(request.only, WORDS), select(request.skip)
    force = select(request.force) if request.force else None
    again = list(status.failed) if request.retry_failed or "failed" in only.words else []
    if "stale" in only.words:
        again += status.stale
    fresh = [] if only.words else status.todo
    if force is not None:
        chosen = {cell.id for cell in again}
        everything = [*status.done, *status.stale, *status.failed]
        again += [cell for cell in force.of(everything) if cell.id not in chosen]
    skipped = {cell.id for cell in skip.of([*fresh, *again])} if request.skip else set()
    again, fresh = ([cell for cell in only.of(cells) if cell.id not in skipped] for cells in (again, fresh))
    return again, fresh


def run_cells(
    cells: list[Cell],
    prepared: PreparedSuite,
    workspace: Workspace,
    ledger: Ledger,
    console: Console,
    *,
    address: str | None,
    on_begin: Callable[[], None],
    on_commit: Callable[[], None],
) -> tuple[int, bool, bool]:
    """Run cells on Ray and commit their records.

    Args:
        cells: What to run.
        prepared: The suite they belong to.
        workspace: Where artifacts are kept.
        ledger: Where records are committed.
        console: Where progress is shown.
        address: A running Ray cluster, or None for one of this machine's own.
        on_begin: Called once the slots stand.
        on_commit: Called after each record.

    Returns:
        Number of records committed, whether the user stopped the run, whether a limit did.
    """
    suite, total = prepared.suite, len(prepared.plan.cells)
    estimate = Timings(ledger.durations()).total(cells, suite.resources)
    expected = None if estimate.guessed else estimate.seconds
    with (
        Slots(workspace.artifacts.root, suite.resources, address=address, most=len(cells)) as slots,
        draining(console) as drained,
        Progress(console, total, total - len(cells), expected, len(slots)) as shown,
    ):

        def committed(record: Record) -> None:
            shown.add(record)
            on_commit()

        on_begin()
        drive = Drive(
            cells,
            slots,
            ledger,
            driver_name(),
            budget_of(prepared, ledger),
            on_record=committed,
            stopping=drained.is_set,
        )
        drive.run()
    return shown.finished, drained.is_set(), drive.capped
