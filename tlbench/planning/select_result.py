"""Finds the one result that a selector means, and the suite that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlbench.core.description import CellDescription
from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical
from tlbench.core.paths import shortened
from tlbench.core.record import Record
from tlbench.planning.run_request import nearest_value
from tlbench.store.ledger import Ledger
from tlbench.suite.selector import conditions_in, read_selector

_SHOWN = 5


def select_result(text: str, ledger: Ledger) -> tuple[Record, list[Record]]:
    """Return the result of the one cell of a grid that a selector means, and those of its setting with other seeds.

    Args:
        text: A selector, or the start of a cell's id.
        ledger: The results.

    Raises:
        UserError: The selector is not understood, or matches none or several; the hint names the nearest value, or what
            tells them apart.
    """
    records = [record for record in ledger.records() if record.cell.trial is None]
    if not records:
        raise UserError(f"{ledger.path}: there are no results", "`tlbench run SUITE` makes some")
    if "=" not in text and "<" not in text and ">" not in text and "!" not in text:
        chosen = [record for record in records if text.strip() and record.id.startswith(text.strip())]
        if not chosen:
            raise UserError(
                f"{shortened(text)!r}: no cell's id begins so", "give an id, or conditions: method=lora* seed=0"
            )
    else:
        selector = read_selector(text)
        chosen = [record for record in records if selector.matches(record.cell)]
    if not chosen:
        raise _none(text, [record.cell for record in records])
    if len(chosen) > 1:
        raise _several(text, [record.cell for record in chosen])
    (record,) = chosen
    return record, [each for each in records if each.id != record.id and _setting(each.cell) == _setting(record.cell)]


def suite_file_of(record: Record, ledger: Ledger) -> Path:
    """Return the suite file that a result was last run from.

    Raises:
        UserError: None is known, or it is not there any more.
    """
    files = [ledger.suite_file(name) for name in ledger.suites_of(record.id)]
    known = [file.path for file in files if file is not None]
    there = [path for path in known if path.is_file()]
    if there:
        return there[0]
    where = f"its suite file {known[0]} is not there" if known else "no suite file is known for it"
    raise UserError(f"{record.cell.label}: {where}", "give --suite FILE, which names its data and its weights")


def _setting(cell: CellDescription) -> tuple[str, ...]:
    """Return what cells of one setting share, as rows of a leaderboard do."""
    execution = f"{cell.precision} {cell.workers}"
    named = (cell.method_label, cell.backbone_label, cell.dataset_fingerprint, str(cell.shots), execution)
    return (cell.protocol, canonical(cell.options), *named)


def _none(text: str, cells: Sequence[CellDescription]) -> UserError:
    conditions = conditions_in(text)
    unmatched = next((part for part in conditions if not any(map(read_selector(part).matches, cells))), None)
    if unmatched is None:
        return UserError(f"{shortened(text)!r}: no result fits all of it", "`tlbench status SUITE --cells` lists cells")
    return UserError(f"{shortened(text)!r}: no result fits {shortened(unmatched)!r}", nearest_value(unmatched, cells))


def _several(text: str, cells: Sequence[CellDescription]) -> UserError:
    if len({_setting(cell) for cell in cells}) == 1:
        seeds = ", ".join(str(seed) for seed in sorted(cell.seed for cell in cells))
        return UserError(
            f"{shortened(text)!r}: matches {len(cells)} models, which differ in their seed: {seeds}",
            f"say which: add seed={min(cell.seed for cell in cells)}",
        )
    lines = [f"id={cell.id}  {cell.label}" for cell in cells[:_SHOWN]]
    more = [f"... ({len(cells)} in all)"] if len(cells) > _SHOWN else []
    shown = "\n  ".join([*lines, *more])
    return UserError(
        f"{shortened(text)!r}: matches {len(cells)} models:\n  {shown}",
        "say which: one of these ids, or more conditions",
    )
