"""What all sections of a report are made of: the results of a suite, its rows, and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from tlbench.audit.results import Audit
from tlbench.audit.storage import read_audit
from tlbench.report.comparable_cells import ComparableCell, comparable_cells
from tlbench.report.labels import labels_of
from tlbench.report.leading_rows import LeadingRows, leading_rows
from tlbench.report.planned import planned_and_finished, planned_cells
from tlbench.report.pretraining_runs import rows_on_one_run
from tlbench.report.published import PublishedRow, published_rows
from tlbench.report.results import Results, join, load
from tlbench.report.rows.leaderboard import Board, leaderboard
from tlbench.report.rows.settings import SettingRow, settings
from tlbench.report.staleness import stale
from tlbench.report.trials import with_labels

_CUT, _TAIL = "[cut; sha256 ", 60  # how the store marks a text that it had to cut


@dataclass(frozen=True)
class Coverage:
    """Numbers of cells by their status; those whose code has changed since count as stale, not as done."""

    done: int
    stale: int
    failed: int
    missing: int
    not_applicable: int

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """The status in words, and the number of cells that have it."""
        return tuple((each.name.replace("_", " "), getattr(self, each.name)) for each in fields(self))


@dataclass(frozen=True)
class Report:
    """A suite's results and the rows that they come to.

    Attributes:
        results: What MLflow holds.
        boards: The leaderboard, a board per protocol and group of datasets that share a backbone.
        settings: One row a setting.
        warnings: What a reader must know before believing a number.
        cells: What the tables are made of.
        stale: Cells whose code, or that of the search that tuned them, has changed since.
        audit: What the leak checks and the search for copies found; None where the suite was not audited.
        suites: Results of each suite, where several are joined in ``results``; else these alone.
        published: Published figures that the suites name, beside the rows that they stand for.
    """

    results: Results
    boards: tuple[Board, ...]
    settings: tuple[SettingRow, ...]
    warnings: tuple[str, ...]
    cells: tuple[ComparableCell, ...] = ()
    stale: frozenset[str] = frozenset()
    audit: Audit | None = None
    suites: tuple[Results, ...] = ()
    published: tuple[PublishedRow, ...] = ()

    @cached_property
    def leading(self) -> LeadingRows:
        """The rows that figures show."""
        return leading_rows(self.boards, self.settings)

    @property
    def coverage(self) -> Coverage:
        """The number of cells by their status."""
        done, failed, old = len(self.results.done), len(self.results.failed), len(self.stale)
        return Coverage(
            done=done - old,
            stale=old,
            failed=failed,
            missing=_missing(self.results),
            not_applicable=sum(each.count for each in self.results.not_applicable),
        )


def read_report(names: str | Sequence[str], uri: str, workspace: Path | None = None) -> Report:
    """Read the results of a suite, or of several as one, from MLflow and make their tables.

    Args:
        names: A suite's name, or several.
        uri: See :func:`tlbench.report.results.load`.
        workspace: Where audits are kept; without it none is shown.

    Raises:
        UserError: The store cannot be read, or has no such suite; or a suite's audit is damaged.
    """
    several = [names] if isinstance(names, str) else list(names)
    results = [load(name, uri) for name in several]
    audit = read_audit(workspace, several[0]) if workspace is not None and len(several) == 1 else None
    return build_report(join(results), audit, results)


def build_report(results: Results, audit: Audit | None = None, suites: Sequence[Results] = ()) -> Report:
    """Make the tables of results.

    Args:
        results: Of one suite, or of several joined.
        audit: Of the one suite.
        suites: The results of each, where they are joined.
    """
    cells, notes = comparable_cells(results.done, results.planned_settings)
    searches = dict(zip(results.done["cell"], results.done["setting"], strict=True))
    places = {key: (cell.protocol, cell.dataset) for cell in cells if (key := searches[cell.cell])}
    labels = labels_of(results.done, results.planned_settings)
    old = stale(results.done, results.trials)
    results = replace(results, trials=with_labels(results.trials, places, labels))
    planned = results.planned_settings
    asked = None if planned is None else planned_cells(planned, results.done, cells)
    boards = leaderboard(cells, results.baseline, results.details, asked)
    rows = settings(cells, results.baseline, results.details)
    return Report(
        results=results,
        boards=boards,
        settings=rows,
        warnings=(*results.notes, *notes, *_warnings(results, boards), *_on_one_run(cells), *_doubts(old, audit)),
        cells=cells,
        stale=old,
        audit=audit,
        suites=tuple(suites) or (results,),
        published=published_rows(tuple(suites) or (results,), rows, cells),
    )


def _asked_for(results: Results) -> int:
    """Return the number of finished cells that the suite asks for; all of them where its settings were not stored."""
    done, settings = results.done, results.planned_settings
    return len(done) if settings is None else planned_and_finished(settings, done)


def _missing(results: Results) -> int:
    """Return the number of cells that the suite asks for and that have neither a result nor failed."""
    return max(0, (results.planned or 0) - _asked_for(results) - len(results.failed))


def _warnings(results: Results, boards: tuple[Board, ...]) -> list[str]:
    found = []
    older, missing = len(results.done) - _asked_for(results), _missing(results)
    if results.planned is None:
        found.append("no plan was stored with these results: how many cells are missing is not known")
    elif older:
        found.append(f"results of cells that the suite does not ask for, as of an earlier version of it: {older}")
    elif len(results.done) > results.planned:
        found.append(
            f"there are results of {len(results.done)} cells but the suite now asks for {results.planned}: "
            "some rows belong to an earlier version of the suite"
        )
    if missing:
        found.append(f"cells that have not been run: {missing} of {results.planned}")
    if results.failed:
        found.append(f"cells that failed: {len(results.failed)}, listed under reliability")
    found += _undiffering(boards)
    found += _mixed(boards)
    found += _without_test_error(boards)
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


def _undiffering(boards: tuple[Board, ...]) -> list[str]:
    """Say why there are no differences to a baseline, each reason once."""
    reasons: dict[str, list[str]] = {}
    for protocol, absence in sorted({(board.protocol, board.baseline.absence) for board in boards}):
        reasons.setdefault(absence, []).append(protocol)
    reasons.pop("", None)
    if len(reasons) == 1 and all(board.baseline.absence for board in boards):
        return [f"no differences are shown: {reason}" for reason in reasons]
    return [f"no differences are shown for {'; '.join(where)}: {reason}" for reason, where in reasons.items()]


def _without_test_error(boards: tuple[Board, ...]) -> list[str]:
    """Say how many rows have intervals of seeds alone, because answers to test examples are not at hand."""
    rows = [row for board in boards for row in board.rows if row.accuracy.error is not None]
    lacking = sum(row.accuracy.tests is None for row in rows)
    if not lacking:
        return []
    return [f"rows whose intervals leave out the error of the finite test set: {lacking} of {len(rows)}"]


def _mixed(boards: tuple[Board, ...]) -> list[str]:
    """Say of each fact of the environment how many rows mix it."""
    rows = [row for board in boards for row in board.rows]
    counts = Counter(mixture.name for row in rows for mixture in row.mixtures)
    return [
        f"rows that mix {name} among their cells: {number} of {len(rows)}, listed under provenance"
        for name, number in counts.items()
    ]


def _on_one_run(cells: Sequence[ComparableCell]) -> list[str]:
    """Say how many rows have intervals that do not know of the luck of pre-training."""
    rows = {(cell.protocol, cell.method, cell.backbone) for cell in cells}
    rest = rows_on_one_run(cells)
    if not rest:
        return []
    return [
        f"rows that rest on one pre-training run, whose luck no interval contains: {len(rest)} of {len(rows)} "
        "(`pretrain_seeds:` in a suite varies it)"
    ]


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
