"""Runs what a suite's searches have not tried yet, and tells what they found."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from tlbench.core.cell import Cell
from tlbench.core.record import Record
from tlbench.core.segments import Segments
from tlbench.planning.budget import Budget
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.search_plan import Searches, studies
from tlbench.runner.graceful_stop import draining
from tlbench.runner.progress import Progress
from tlbench.search.objective import value_of
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow.background_writer import BackgroundWriter
from tlbench.store.workspace import Workspace, driver_name


@dataclass(frozen=True)
class Found:
    """What the search of a setting has found so far.

    Attributes:
        setting: What people read.
        trials: Number of trials that ended, failed ones too; a third each where a training is three.
        failed: Number of those that failed.
        seconds: Device-seconds of all of them.
        start: Validation score of the default configuration; None where it has none.
        best: Validation score of the winner; None where there is none.
        number: Which trial it is; 0 where there is none.
        values: Its values; where they changed along the way, those of the end.
        segments: How they changed: up to which ninth of the training which values hold; empty where they did not.
        note: Why there was nothing to search, if so.
    """

    setting: str
    trials: float
    failed: int
    seconds: float
    start: float | None
    best: float | None
    number: int
    values: dict[str, Any]
    segments: Segments = ()
    note: str = ""


def run_searches(
    cells: Iterable[Cell],
    prepared: PreparedSuite,
    workspace: Workspace,
    ledger: Ledger,
    writer: BackgroundWriter,
    console: Console,
    budget: Budget,
    address: str | None,
) -> bool:
    """Run the searches that some cells of a suite wait for; say whether they came to their end.

    Args:
        cells: The cells; those that wait for nothing do no harm.
        prepared: The suite.
        workspace: Where results and artifacts are kept.
        ledger: Where trials are committed.
        writer: Told of each.
        console: Where progress is shown.
        budget: What the suite may use, and has used before.
        address: A running Ray cluster, or None for one of this machine's own.

    Raises:
        UserError: Trials cannot run, or no cluster answers.
    """
    wanted = prepared.suite.search
    searches = prepared.searches.of(cells)
    todo = {key: study for key, study in studies(searches, ledger).items() if not study.ended}
    if wanted is None or not todo:
        return True
    if budget.reached:
        return False
    from tlbench.runner.tune_experiment import tune_all

    before, most = (
        sum(each) for each in ((len(s.records) for s in todo.values()), (s.max_trials for s in todo.values()))
    )
    with draining(console) as drained, ExitStack() as stack:
        shown: list[Progress] = []

        def begin(slots: int) -> None:
            shown.append(stack.enter_context(Progress(console, most, before, None, slots, "trials")))
            writer.start()

        def committed(record: Record) -> None:
            shown[0].add(record)
            writer.notify()

        tune_all(
            todo,
            prepared.suite.resources,
            ledger,
            workspace.root,
            workspace.artifacts.root,
            driver_name(),
            scheduler=wanted.scheduler,
            budget=budget,
            address=address,
            on_begin=begin,
            on_record=committed,
            stopping=drained.is_set,
        )
    return not drained.is_set() and all(study.ended for study in todo.values())


def findings(searches: Searches, ledger: Ledger) -> list[Found]:
    """Return what every search has found so far, in the order of the suite."""
    found = []
    for study in studies(searches, ledger).values():
        records = study.records.values()
        best, first, chosen = study.winner, study.default, study.best_trial
        found.append(
            Found(
                setting=study.problem.label,
                trials=len(records) / study.problem.trials_per_training,
                failed=sum(record.status == "failed" for record in records),
                seconds=study.spent,
                start=None if first is None else value_of(first.outcome),
                best=None if best is None else value_of(best.outcome),
                number=0 if chosen is None else chosen.number,
                values={} if chosen is None else chosen.values,
                segments=() if chosen is None else chosen.segments,
                note="no validation within the label budget" if study.blind else "",
            )
        )
    return found
