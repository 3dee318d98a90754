"""Writes a suite's report: one self-contained page, its tables and figures as files, and the records."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tlbench.report import table as writers
from tlbench.report.all_tables import TABLES, sheets
from tlbench.report.html import html
from tlbench.report.rendered_figures import FIGURES, Figure, draw, pdf, svg
from tlbench.report.report_data import Report, gather, make
from tlbench.report.table_tex import tex
from tlbench.report.vega_bundle import library
from tlbench.store.atomic_write import Content, write_file

__all__ = ["Paths", "Report", "gather", "make", "save", "write"]


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
        uri: See :func:`tlbench.report.results.load`.
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
    return save_into(report, folder)


def save_into(report: Report, folder: Path) -> Paths:
    """Write a gathered report into a folder that exists, as :func:`save` does."""
    drawn = draw(report)
    with ThreadPoolExecutor(1) as aside:  # Vega works in native code, while tables are made here
        script = aside.submit(library) if drawn.figures else None
        drawings = {name: aside.submit(_drawing, figure) for name, figure in drawn.figures.items()}
        tables = sheets(report)
        written = [
            _write(folder / f"{sheet.name}.{ending}", make_text(sheet))
            for sheet in tables.values()
            for ending, make_text in (("csv", writers.csv), ("md", writers.markdown), ("tex", tex))
        ]
        done = report.results.done
        written.append(_write(folder / "records.parquet", lambda stream: done.to_parquet(stream, index=False)))
        index = _write(folder / "index.html", html(report, tables, drawn, script.result() if script else ""))
        for name, drawing in drawings.items():
            as_svg, as_pdf = drawing.result()
            written.append(_write(folder / f"{name}.svg", as_svg))
            written.append(_write(folder / f"{name}.pdf", as_pdf))
    _sweep(folder, {path.name for path in (*written, index)})
    return Paths(folder, index, (*written, index))


def _drawing(figure: Figure) -> tuple[str, bytes]:
    drawing = svg(figure)
    return drawing, pdf(drawing)


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove tables and figures of an earlier report; whatever else lies there is the user's."""
    names = {f"{name}.{ending}" for name in TABLES for ending in ("csv", "md", "tex")}
    names |= {f"{name}.{ending}" for name in FIGURES for ending in ("svg", "pdf")}
    for name in names - kept:
        (folder / name).unlink(missing_ok=True)


def _write(path: Path, content: Content) -> Path:
    return write_file(path, content, durable=False)  # a report can be made again
