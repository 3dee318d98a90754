"""Writes a suite's report: one self-contained page, its tables and figures as files, and the records."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

import tlbench
from tlbench.report import sheet as writers
from tlbench.report import text
from tlbench.report.drawn import FIGURES, Drawn, Figure, draw, library, pdf, svg
from tlbench.report.figures import look, ranks
from tlbench.report.gathered import Report, gather, make
from tlbench.report.protocol_box import protocol_boxes
from tlbench.report.reproduction import reproductions
from tlbench.report.sheet import Bold, Sheet
from tlbench.report.sheets import TABLES, sheets
from tlbench.report.tables import MOST_COMPARED, Board
from tlbench.report.trials import spent

__all__ = ["Paths", "Report", "gather", "html", "make", "save", "write"]

SHOWN = 300
"""Rows of a table that the page shows; the files beside it hold all."""
_LONG = 40  # rows from which a table scrolls by itself
_SMALL = 5
_HEAD, _TAIL = 8, 6  # lines of a long traceback


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


def write(names: str | Sequence[str], uri: str, out_dir: Path) -> Paths:
    """Read the results of one suite or several from MLflow alone and write ``out_dir/SUITE/``.

    Args:
        names: A suite's name, or several.
        uri: ``sqlite:///...`` or the ``http(s)://`` address of a tracking server.
        out_dir: Where reports go; made if missing.

    Raises:
        UserError: The store cannot be read, or has no such suite.
        OSError: The folder cannot be written; files that were there are untouched or whole.
    """
    return save(gather(names, uri), out_dir)


def save(report: Report, out_dir: Path) -> Paths:
    """Write a gathered report to ``out_dir/SUITE/``, each file whole or not at all.

    Tables and figures that an earlier report had and this one has not are removed.
    """
    folder = out_dir / report.results.suite
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw(report)
    with ThreadPoolExecutor(1) as aside:  # Vega works in native code, while tables are made here
        script = aside.submit(library) if drawn.figures else None
        drawings = {name: aside.submit(_drawing, figure) for name, figure in drawn.figures.items()}
        tables = sheets(report)
        written = [
            _place(folder / f"{sheet.name}.{ending}", make_text(sheet))
            for sheet in tables.values()
            for ending, make_text in (("csv", writers.csv), ("md", writers.markdown), ("tex", writers.tex))
        ]
        done = report.results.done
        written.append(_replace(folder / "records.parquet", lambda draft: done.to_parquet(draft, index=False)))
        index = _place(folder / "index.html", html(report, tables, drawn, script.result() if script else ""))
        for name, drawing in drawings.items():
            as_svg, as_pdf = drawing.result()
            written.append(_place(folder / f"{name}.svg", as_svg))
            written.append(_replace(folder / f"{name}.pdf", _writer(as_pdf)))
    _sweep(folder, {path.name for path in (*written, index)})
    return Paths(folder, index, (*written, index))


def _drawing(figure: Figure) -> tuple[str, bytes]:
    drawing = svg(figure)
    return drawing, pdf(drawing)


def html(report: Report, tables: Mapping[str, Sheet], drawn: Drawn, script: str) -> str:
    """Return the page. Every name and message is escaped; nothing is loaded from anywhere.

    Args:
        report: The gathered report.
        tables: Its tables.
        drawn: Its figures.
        script: :func:`tlbench.report.drawn.library`, or empty where there is no figure.
    """
    results = report.results
    specs: dict[str, Any] = {"day": look.DAY, "night": look.NIGHT, "specs": {}}
    specs["specs"] = {figure.name: figure.spec for figure in drawn.figures.values()}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            results=results,
            tables=tables,
            drawn=drawn,
            specs=specs,
            library=script,
            text=text,
            axis=_axis,
            scale=_scale,
            shown=SHOWN,
            long=_LONG,
            most_compared=MOST_COMPARED,
            excerpt=_excerpt,
            coverage=report.coverage(),
            boxes=protocol_boxes(results.done, report.cells),
            trials=spent(report.settings, results.trials),
            no_diagram=ranks.absence(report.boards),
            reproductions=reproductions(results, report.cells),
            hours=text.seconds(float(results.done["cost/seconds"].sum())),
            fingerprints=sorted(set(zip(results.done["dataset"], results.done["dataset_fingerprint"], strict=True))),
            provenance={key: _listed(values) for key, values in results.provenance.items() if key not in _UNTOLD},
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=tlbench.__version__,
        )
    )


_UNTOLD = ("pid", "attempt", "method_source", "protocol_source")  # too many to read; the records hold them


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["bold"] = lambda cell: isinstance(cell, Bold)
    return environment


def _listed(values: dict[str, int]) -> str:
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return ordered[0][0] or text.NONE
    shown = ", ".join(f"{value or text.NONE} ({cells} cells)" for value, cells in ordered[:_SMALL])
    return shown + (f", and {len(ordered) - _SMALL} more" if len(ordered) > _SMALL else "")


def _excerpt(traceback: str) -> str:
    """Return the first and the last lines of a traceback: where it started, and what went wrong."""
    lines = traceback.splitlines()
    if len(lines) <= _HEAD + _TAIL:
        return traceback
    return "\n".join([*lines[:_HEAD], f"... {len(lines) - _HEAD - _TAIL} lines ...", *lines[-_TAIL:]])


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


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove tables and figures of an earlier report; whatever else lies there is the user's."""
    names = {f"{name}.{ending}" for name in TABLES for ending in ("csv", "md", "tex")}
    names |= {f"{name}.{ending}" for name in FIGURES for ending in ("svg", "pdf")}
    for name in names - kept:
        (folder / name).unlink(missing_ok=True)


def _place(path: Path, content: str) -> Path:
    return _replace(path, lambda draft: draft.write_text(content, encoding="utf-8"))


def _writer(content: bytes) -> Callable[[Path], object]:
    return lambda draft: draft.write_bytes(content)


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
