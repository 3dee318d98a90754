"""The status of a suite in lines for the terminal, with rich's markup, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.markup import escape

from tlbench.api.progress import duration
from tlbench.cli import words
from tlbench.core.cost import Total
from tlbench.planning.budget import Budget
from tlbench.planning.status import FailureReason, SuiteStatus

_NAMED = 3  # cells named for each reason of failure


def headline(status: SuiteStatus) -> str:
    """Return the counts of cells by status, in one line."""
    counts = [f"{len(cells)} {name}" for name, cells in status.cells.lists.items() if cells]
    suite, total = status.prepared.suite.name, len(status.prepared.plan.cells)
    return " · ".join([f"[bold]{suite}[/]: {words.cells(total)}", *counts])


def status_lines(status: SuiteStatus) -> Iterator[str]:
    """Yield the whole status: counts, what is not applicable and why, the cost of the rest, limits, and hints."""
    yield headline(status)
    for entry in status.prepared.plan.summarize_not_applicable():
        yield f"  not applicable ({entry.count}): {escape(entry.what)}: {escape(entry.reason)}"
    trials = status.trials
    if trials.at_most:
        done = f"{trials.done} of at most {trials.at_most} trials done"
        left = f"{trials.trainings} training{'s' * (trials.trainings != 1)} left"
        yield f"  searching first: {done}, {left}, for {words.cells(trials.waiting_cells)}"
    references = sum(cell.id in status.prepared.searches.references for cell in status.prepared.plan.cells)
    if references:
        yield f"  {words.cells(references)} with the default settings, to tell what the searches gain"
    if status.cells.todo:
        yield from _cost_lines(status.cost)
    yield from (f"  {line}" for line in limit_lines(status.budget))
    if status.cells.failed:
        yield "  failed cells run again with --retry-failed"
    if status.cells.stale:
        yield '  stale cells (their code has changed) run again with --only "stale"'
    if status.stale_trials:
        yield f'  stale trials: {status.stale_trials}; their searches begin anew with --only "stale"'


def limit_lines(budget: Budget) -> Iterator[str]:
    """Yield a line for each limit on hours: how much of it is used, and whether any cell may still start."""
    for each in budget.hour_limits:
        over = ": no further cell starts" if each.reached else ""
        yield f"limits.{each.device}_hours: {each.used:.3g} of {each.limit:g} used{over}"


def failure_lines(reasons: Iterable[FailureReason]) -> Iterator[str]:
    """Yield why cells failed: each reason with its count, then a few of its cells."""
    for each in reasons:
        yield f"  {words.cells(len(each.records))} failed: {escape(each.reason)}"
        yield from (f"    {record.id}  {escape(record.cell.label)}" for record in each.records[:_NAMED])
        if len(each.records) > _NAMED:
            yield f"    and {len(each.records) - _NAMED} more (--cells lists all)"


def status_json(status: SuiteStatus) -> dict[str, Any]:
    """Return counts, reasons and estimates for programs."""
    return {
        "suite": status.prepared.suite.name,
        "cells": len(status.prepared.plan.cells),
        **{name: len(cells) for name, cells in status.cells.lists.items()},
        "not_applicable": [asdict(entry) for entry in status.prepared.plan.summarize_not_applicable()],
        "cpu_hours": status.cost.cpu_hours,
        "gpu_hours": status.cost.gpu_hours,
        "estimates": dict(status.cost.sources),
        "todo_ids": [cell.id for cell in status.cells.todo],
        "trials": {
            "done": status.trials.done,
            "at_most": status.trials.at_most,
            "trainings": status.trials.trainings,
            "stale": status.stale_trials,
        },
    }


def _cost_lines(cost: Total) -> Iterator[str]:
    hours = f"{cost.cpu_hours:.2g} CPU-h" + (f", {cost.gpu_hours:.2g} GPU-h" if cost.gpu_hours else "")
    yield f"  to do: about {hours}; {duration(cost.seconds)} if cells ran one after another"
    yield from (f"    {words.cells(count)}: {escape(source)}" for source, count in cost.sources.items())
