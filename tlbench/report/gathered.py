"""A suite's report before it is written: results, tables, sentences and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from tlbench.core.audit import Audit
from tlbench.report.cells import Measured, settle
from tlbench.report.choices import Choices, choices
from tlbench.report.data import Results, join, load
from tlbench.report.recommend import recommend
from tlbench.report.stale import stale
from tlbench.report.tables import Board, SettingRow, leaderboard, settings
from tlbench.store.audits import read_audit

_ASKED = 60  # complete rows of a board that are held against each other for its answer
_CUT, _TAIL = "[cut; sha256 ", 60  # how the store marks a text that it had to cut


@dataclass(frozen=True)
class Report:
    """A suite's results and the tables made of them.

    Attributes:
        results: What MLflow holds.
        boards: The leaderboard, a board per protocol and company of datasets.
        settings: One row a setting.
        choices: What validators chose, where a protocol lets several choose.
        warnings: What a reader must know before believing a number.
        cells: What the tables are made of.
        stale: Cells whose code has changed since.
        audit: What the leak checks and the search for copies found; None where the suite was not audited.
    """

    results: Results
    boards: tuple[Board, ...]
    settings: tuple[SettingRow, ...]
    choices: Choices
    warnings: tuple[str, ...]
    cells: tuple[Measured, ...] = ()
    stale: frozenset[str] = frozenset()
    audit: Audit | None = None

    @cached_property
    def answers(self) -> tuple[tuple[Board, str], ...]:
        """What each board answers, as far as it goes; transductive boards answer after the others."""
        cells = self.cells_by_board()
        found = [(board, _answer(board, cells[board.protocol, board.datasets])) for board in self.boards]
        told = [(board, answer) for board, answer in found if answer]
        return tuple(sorted(told, key=lambda pair: pair[0].transductive))

    def cells_by_board(self) -> dict[tuple[str, tuple[str, ...]], list[Measured]]:
        """Return the cells of each board, by its protocol and datasets."""
        home = {(board.protocol, name): board.datasets for board in self.boards for name in board.datasets}
        found: dict[tuple[str, tuple[str, ...]], list[Measured]] = {
            (board.protocol, board.datasets): [] for board in self.boards
        }
        for cell in self.cells:
            datasets = home.get((cell.protocol, cell.dataset))  # a dataset that only upper bounds have is on no board
            if datasets is not None:
                found[cell.protocol, datasets].append(cell)
        return found

    def coverage(self) -> dict[str, int]:
        """Return the number of cells by how they stand."""
        done, failed, old = len(self.results.done), len(self.results.failed), len(self.stale)
        missing = max(0, (self.results.planned or 0) - done - failed)
        absent = sum(each.count for each in self.results.not_applicable)
        return {"done": done - old, "stale": old, "failed": failed, "missing": missing, "not applicable": absent}


def _answer(board: Board, cells: Sequence[Measured]) -> str:
    """Return a board's answer in a sentence; of a very large board only the first rows are asked."""
    leading = {(row.method, row.backbone) for row in board.ranked[:_ASKED]}
    among = ""
    if len(board.ranked) > _ASKED:
        among = f"Among the {_ASKED} best means of {len(board.ranked)} rows: "
        cells = [cell for cell in cells if (cell.method, cell.backbone) in leading]
    answer = recommend(cells)
    return "" if answer is None else among + answer.sentence


def gather(names: str | Sequence[str], uri: str, home: Path | None = None) -> Report:
    """Read the results of a suite, or of several as one, from MLflow and make their tables.

    Args:
        names: A suite's name, or several.
        uri: ``sqlite:///...`` or the ``http(s)://`` address of a tracking server.
        home: Where audits are kept; without it none is shown.

    Raises:
        UserError: The store cannot be read, or has no such suite; or a suite's audit is damaged.
    """
    several = [names] if isinstance(names, str) else list(names)
    results = [load(name, uri) for name in several]
    audit = read_audit(home, several[0]) if home is not None and len(several) == 1 else None
    return make(results[0] if len(results) == 1 else join(results), audit)


def make(results: Results, audit: Audit | None = None) -> Report:
    """Make the tables of results."""
    cells, notes = settle(results.done)
    boards = leaderboard(cells, results.baseline)
    old = stale(results.done)
    return Report(
        results=results,
        boards=boards,
        settings=settings(cells, results.baseline),
        choices=choices(cells),
        warnings=(*results.notes, *notes, *_warnings(results, boards), *_doubts(old, audit)),
        cells=cells,
        stale=old,
        audit=audit,
    )


def _warnings(results: Results, boards: tuple[Board, ...]) -> list[str]:
    found = []
    have = len(results.done) + len(results.failed)
    if results.planned is None:
        found.append("no plan was stored with these results: how many cells are missing is not known")
    elif len(results.done) > results.planned:
        found.append(
            f"there are results of {len(results.done)} cells but the suite now asks for {results.planned}: "
            "some rows belong to an earlier version of the suite"
        )
    elif have < results.planned:
        found.append(f"cells that have not been run: {results.planned - have} of {results.planned}")
    if results.failed:
        found.append(f"cells that failed: {len(results.failed)}, listed under reliability")
    absent = sorted({f"{board.protocol}: {board.baseline.absence}" for board in boards if board.baseline.absence})
    found += [f"no differences are shown for {reason}" for reason in absent]
    if _CUT in results.suite_text[-_TAIL:]:
        found.append("the suite's text is too long for MLflow and was stored in part: reproduce from the file itself")
    small = sum(not board.ranked for board in boards)
    if small:
        found.append(f"leaderboards without a single row that can be ranked: {small} of {len(boards)}")
    commits = [commit for commit in results.provenance.get("commit", {}) if commit]
    if len(commits) > 1:
        found.append(f"the results come from {len(commits)} commits of tlbench: see provenance")
    if any(commit.endswith("dirty") for commit in commits):
        found.append("some results come from a working tree with changes that no commit holds")
    return found


def _doubts(old: frozenset[str], audit: Audit | None) -> list[str]:
    found = [f"stale results, made by code that has changed since: {len(old)} cells"] if old else []
    if audit is None:
        return found
    if not audit.passed:
        when = datetime.fromtimestamp(audit.finished, UTC).strftime("%Y-%m-%d")
        found.append(f"leak checks failed on {when}: see reliability")
    copies = [each for each in audit.overlaps if each.exact + each.near]
    return found + [
        f"{each.exact + each.near} of {each.tests} examples of {each.test} have a copy in {each.against}"
        for each in copies
    ]
