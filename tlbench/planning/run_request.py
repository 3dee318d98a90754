"""Which cells a run is asked for by its selectors, and the command that asks again for those it could not finish."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError, nearest
from tlbench.suite.plan import PlanStatus
from tlbench.suite.selector import FIELDS, select

WORDS = ("failed", "stale")
_PART = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_STORED_AS = {
    "label": ("method_label",), "method": ("method", "method_label"), "backbone": ("backbone", "backbone_label")
}  # fmt: skip


@dataclass(frozen=True)
class RunRequest:
    """What the user asks of a run beside the suite.

    Attributes:
        only: Selector of the cells to run; ``failed`` and ``stale`` in it ask for those too.
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


def refuse_idle_selectors(request: RunRequest, cells: list[Cell]) -> None:
    """Refuse selectors that fit no cell of the suite: whoever wrote them meant something else.

    Raises:
        UserError: A selector is not understood, or fits nothing; the hint names what there is.
    """
    for option, text, words in (
        ("--only", request.only, WORDS),
        ("--skip", request.skip, ()),
        ("--force", request.force, ()),
    ):
        if not text or select(text, words).of(cells):
            continue
        parts = _PART.findall(text)
        idle = next((part for part in parts if part not in words and not select(part).of(cells)), None)
        if idle is None:
            raise UserError(f"{option} {text!r}: no cell of the suite fits all of it")
        raise UserError(f"{option} {text!r}: no cell of the suite fits {idle!r}", _what_there_is(idle, cells))


def choose(status: PlanStatus, request: RunRequest) -> tuple[list[Cell], list[Cell]]:
    """Return the cells to run again, whose results are to be taken back first, and those to run that have none.

    Args:
        status: The cells of the suite, sorted by how they stand.
        request: What the user asks.

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


def requested(request: RunRequest, cells: list[Cell], chosen: list[Cell]) -> list[Cell]:
    """Return the cells whose result a run is asked for, those included that had one before.

    Args:
        request: What the user asks.
        cells: All of the suite.
        chosen: Those that the run had to do.
    """
    return chosen if select(request.only, WORDS).words else selected(request, cells)


def wants_stale(request: RunRequest) -> bool:
    """Say whether a request asks for what is stale."""
    return "stale" in select(request.only, WORDS).words


def selected(request: RunRequest, cells: list[Cell]) -> list[Cell]:
    """Return the cells that fit the selectors of a request, whatever their status."""
    skipped = {cell.id for cell in select(request.skip).of(cells)} if request.skip else set()
    return [cell for cell in select(request.only, WORDS).of(cells) if cell.id not in skipped]


def command_to_continue(request: RunRequest, suite: Path, options: Mapping[str, object]) -> str:
    """Return the command that runs what an interrupted run left: never again what was forced or has been retried.

    Args:
        request: What that run was asked.
        suite: The suite file.
        options: Further options of the command line by name, None where they were not given.
    """
    only = " ".join(part for part in _PART.findall(request.only) if part not in WORDS)
    given = {"--only": only or None, "--skip": request.skip or None, "--address": request.address, **options}
    words = [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    return shlex.join(["tlbench", "run", str(suite), *words])


def _what_there_is(part: str, cells: list[Cell]) -> str:
    field, value = re.split(r"[=!<>]+", part, maxsplit=1)
    if field not in FIELDS or field == "id":
        return ""
    facts = [cell.describe() for cell in cells]
    values = {str(getattr(fact, key)) for fact in facts for key in _STORED_AS.get(field, (field,))}
    return f"{field}: {nearest(value.strip('*?'), values).removeprefix('valid: ')}"
