"""What the user asks of a run, and which cells of a suite that means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tlbench.core.cell import Cell
from tlbench.core.description import CellDescription
from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import shortened
from tlbench.suite.plan import PlanStatus
from tlbench.suite.selector import FIELDS, conditions_in, read_selector

STATUS_WORDS = ("failed", "stale")
"""Words that the selector ``only`` may hold beside conditions, for cells that have a result already."""
_DESCRIBED_AS = {
    "label": ("method_label",), "method": ("method", "method_label"), "backbone": ("backbone", "backbone_label")
}  # fmt: skip


@dataclass(frozen=True)
class RunRequest:
    """What the user asks of a run beside the suite.

    Attributes:
        only: Selector of the cells to run; ``failed`` and ``stale`` in it ask for those, and for no others.
        skip: Selector of cells to leave out.
        force: Selector of cells to run again though they are done.
        retry_failed: Run failed cells again.
        address: A running Ray cluster, or None.
    """

    only: str = ""
    skip: str = ""
    force: str = ""
    retry_failed: bool = False
    address: str | None = None


class CellsToRun(NamedTuple):
    """The cells that a run has to do.

    Attributes:
        again: Those with a result, which is to be retracted first.
        fresh: Those without one.
    """

    again: list[Cell]
    fresh: list[Cell]


def check_selectors(request: RunRequest, cells: list[Cell]) -> None:
    """Refuse selectors that match no cell of the suite: whoever wrote them meant something else.

    Raises:
        UserError: A selector is not understood, or matches nothing; the hint names the nearest value that would.
    """
    for option, text, words in (
        ("--only", request.only, STATUS_WORDS),
        ("--skip", request.skip, ()),
        ("--force", request.force, ()),
    ):
        if not text or read_selector(text, words).filter(cells):
            continue
        conditions = [part for part in conditions_in(text) if part not in words]
        unmatched = next((part for part in conditions if not read_selector(part).filter(cells)), None)
        if unmatched is None:
            raise UserError(f"{option} {shortened(text)!r}: no cell of the suite fits all of it")
        raise UserError(
            f"{option} {shortened(text)!r}: no cell of the suite fits {shortened(unmatched)!r}",
            nearest_value(unmatched, [cell.describe() for cell in cells]),
        )


def cells_to_run(status: PlanStatus, request: RunRequest) -> CellsToRun:
    """Return the cells that a run has to do.

    Args:
        status: The cells of the suite, sorted by status.
        request: What the user asks.

    Raises:
        UserError: A selector is not understood.
    """
    only, skip = read_selector(request.only, STATUS_WORDS), read_selector(request.skip)
    again = list(status.failed) if request.retry_failed or "failed" in only.words else []
    if "stale" in only.words:
        again += status.stale
    if request.force:
        chosen = {cell.id for cell in again}
        with_result = [*status.done, *status.stale, *status.failed]
        again += [cell for cell in read_selector(request.force).filter(with_result) if cell.id not in chosen]
    fresh = [] if only.words else status.todo
    skipped = {cell.id for cell in skip.filter([*fresh, *again])} if request.skip else set()
    return CellsToRun(*([cell for cell in only.filter(cells) if cell.id not in skipped] for cells in (again, fresh)))


def requested_cells(request: RunRequest, cells: list[Cell], to_run: list[Cell]) -> list[Cell]:
    """Return the cells whose results a run is asked for, those included that had one before.

    Args:
        request: What the user asks.
        cells: All of the suite.
        to_run: Those that the run had to do.
    """
    return to_run if wants_results(request) else selected_cells(request, cells)


def wants_stale(request: RunRequest) -> bool:
    """Return whether a request asks for what is stale."""
    return "stale" in read_selector(request.only, STATUS_WORDS).words


def wants_results(request: RunRequest) -> bool:
    """Return whether a request asks for cells that have a result already, and for no others."""
    return bool(read_selector(request.only, STATUS_WORDS).words)


def selected_cells(request: RunRequest, cells: list[Cell]) -> list[Cell]:
    """Return the cells that fit the selectors of a request, whatever their status."""
    skipped = {cell.id for cell in read_selector(request.skip).filter(cells)} if request.skip else set()
    return [cell for cell in read_selector(request.only, STATUS_WORDS).filter(cells) if cell.id not in skipped]


def nearest_value(condition: str, facts: Sequence[CellDescription]) -> str:
    """Return a hint that names the value of some cell that is nearest to a condition's; empty where there is none.

    Args:
        condition: One condition of a selector.
        facts: Of the cells.
    """
    field, value = re.split(r"[=!<>]+", condition, maxsplit=1)
    if field not in FIELDS or field == "id":
        return ""
    values = {str(getattr(fact, key)) for fact in facts for key in _DESCRIBED_AS.get(field, (field,))}
    return f"{field}: {nearest(value.strip('*?'), values).removeprefix('valid: ')}"
