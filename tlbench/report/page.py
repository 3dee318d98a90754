"""Writes a suite's report: one self-contained page, the tables as csv and markdown, and the records."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import jinja2

import tlbench
from tlbench.report import text
from tlbench.report.cells import settle
from tlbench.report.choices import Choices, choices
from tlbench.report.data import Results, load
from tlbench.report.flat import choices_csv, choices_md, leaderboard_csv, leaderboard_md, settings_csv, settings_md
from tlbench.report.tables import Board, SettingRow, leaderboard, settings

_SMALL = 5
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
    """

    results: Results
    boards: tuple[Board, ...]
    settings: tuple[SettingRow, ...]
    choices: Choices
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Paths:
    """Where a report was written.

    Attributes:
        folder: ``OUT/SUITE``.
        index: The page.
        files: Everything that was written, the page included.
    """

    folder: Path
    index: Path
    files: tuple[Path, ...]


def gather(suite_name: str, uri: str) -> Report:
    """Read a suite's results from MLflow and make its tables.

    Args:
        suite_name: The suite's name.
        uri: ``sqlite:///...`` or the ``http(s)://`` address of a tracking server.

    Raises:
        UserError: The store cannot be read, or has no such suite.
    """
    results = load(suite_name, uri)
    cells, notes = settle(results.done)
    boards = leaderboard(cells, results.baseline)
    return Report(
        results=results,
        boards=boards,
        settings=settings(cells, results.baseline),
        choices=choices(cells),
        warnings=(*results.notes, *notes, *_warnings(results, boards)),
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
        found.append(f"cells that failed: {len(results.failed)}, listed under failures")
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


def write(suite_name: str, uri: str, out_dir: Path) -> Paths:
    """Read a suite's results from MLflow alone and write ``out_dir/suite_name/``.

    Args:
        suite_name: The suite's name.
        uri: ``sqlite:///...`` or the ``http(s)://`` address of a tracking server.
        out_dir: Where reports go; made if missing.

    Raises:
        UserError: The store cannot be read, or has no such suite.
        OSError: The folder cannot be written; files that were there are untouched or whole.
    """
    return save(gather(suite_name, uri), out_dir)


def save(report: Report, out_dir: Path) -> Paths:
    """Write a gathered report to ``out_dir/SUITE/``, each file whole or not at all."""
    folder = out_dir / report.results.suite
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        _place(folder / "leaderboard.csv", leaderboard_csv(report.boards)),
        _place(folder / "leaderboard.md", leaderboard_md(report.boards)),
        _place(folder / "settings.csv", settings_csv(report.settings)),
        _place(folder / "settings.md", settings_md(report.settings)),
    ]
    if report.choices.validators:
        written.append(_place(folder / "adaptation.csv", choices_csv(report.choices)))
        written.append(_place(folder / "adaptation.md", choices_md(report.choices)))
    if find_spec("pyarrow") is not None:
        done = report.results.done
        written.append(_replace(folder / "records.parquet", lambda draft: done.to_parquet(draft, index=False)))
    index = _place(folder / "index.html", html(report, tuple(path.name for path in written)))
    return Paths(folder, index, (*written, index))


def html(report: Report, files: tuple[str, ...] = ()) -> str:
    """Return the page. Every name and message is escaped; nothing is loaded from anywhere.

    Args:
        report: The gathered report.
        files: Names of files beside the page, to link to.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results = report.results
    return environment.get_template("page.html.j2").render(
        report=report,
        results=results,
        text=text,
        axis=_axis,
        scale=_scale,
        coverage=_coverage(results),
        hours=text.seconds(float(results.done["cost/seconds"].sum())),
        fingerprints=sorted(set(zip(results.done["dataset"], results.done["dataset_fingerprint"], strict=True))),
        provenance={key: _listed(values) for key, values in results.provenance.items()},
        files=files,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=tlbench.__version__,
    )


def _coverage(results: Results) -> list[tuple[str, int]]:
    done, failed = len(results.done), len(results.failed)
    missing = max(0, (results.planned or 0) - done - failed)
    return [("done", done), ("failed", failed), ("missing", missing)]


def _listed(values: dict[str, int]) -> str:
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return ordered[0][0] or text.NONE
    shown = ", ".join(f"{value or text.NONE} ({cells} cells)" for value, cells in ordered[:_SMALL])
    return shown + (f", and {len(ordered) - _SMALL} more" if len(ordered) > _SMALL else "")


def _axis(board: Board) -> tuple[float, float]:
    """Return the ends of the axis on which a board's intervals are drawn, in multiples of 5 points."""
    lows = [row.accuracy.mean if row.accuracy.low is None else row.accuracy.low for row in board.rows]
    highs = [row.accuracy.mean if row.accuracy.high is None else row.accuracy.high for row in board.rows]
    low, high = int(20 * min(lows)) / 20, -int(-20 * max(highs) // 1) / 20
    return low, max(high, low + 0.05)


def _scale(value: float, axis: tuple[float, float]) -> float:
    """Return where a value lies on an axis, in percent."""
    low, high = axis
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def _place(path: Path, content: str) -> Path:
    return _replace(path, lambda draft: draft.write_text(content, encoding="utf-8"))


def _replace(path: Path, fill: Callable[[Path], object]) -> Path:
    """Fill a draft beside ``path``, then put it there in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        fill(draft)
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
