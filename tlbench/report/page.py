"""Writes a suite's report: one self-contained page, its tables and figures as files, and the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tlbench.report.built_sections import BuiltSection, SectionFailure, build_sections, failure, load_sections
from tlbench.report.figure import Figure, pdf, svg
from tlbench.report.html import html
from tlbench.report.report_data import Report, read_report
from tlbench.report.table import csv, markdown
from tlbench.report.table_tex import tex
from tlbench.report.vega_bundle import library
from tlbench.store.atomic_write import Content, write_file

__all__ = ["Paths", "save", "save_into", "write"]

_TABLE_FILES = {"csv": csv, "md": markdown, "tex": tex}


@dataclass(frozen=True)
class Paths:
    """Where a report was written.

    Attributes:
        folder: ``OUT/SUITE``.
        index: The page.
        files: Everything that was written, the page included.
        failures: Sections that could not be shown; the page says so in their places.
    """

    folder: Path
    index: Path
    files: tuple[Path, ...]
    failures: tuple[SectionFailure, ...] = ()


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
    return save(read_report(names, uri), out_dir)


def save(report: Report, out_dir: Path) -> Paths:
    """Write a gathered report to ``out_dir/SUITE/``, each file whole or not at all.

    Tables and figures that an earlier report had and this one has not are removed.
    """
    folder = out_dir / report.results.suite
    folder.mkdir(parents=True, exist_ok=True)
    return save_into(report, folder)


def save_into(report: Report, folder: Path) -> Paths:
    """Write a report into a folder that exists, as :func:`save` does."""
    sections: list[BuiltSection] = []
    drawings: dict[str, Future[tuple[str, bytes]]] = {}
    with ThreadPoolExecutor(1) as aside:  # Vega works in native code, while tables are made here
        script: Future[str] | None = None
        for section in build_sections(report):
            sections.append(section)
            for name, figure in section.figures.items():
                script = script or aside.submit(library)
                drawings[name] = aside.submit(_drawing, figure)
        written = [
            _write(folder / f"{table.name}.{ending}", as_text(table))
            for section in sections
            for table in section.tables.values()
            for ending, as_text in _TABLE_FILES.items()
        ]
        done = report.results.done
        written.append(_write(folder / "records.parquet", lambda stream: done.to_parquet(stream, index=False)))
        page = html(report, sections, script.result() if script else "")
        drawn = [_write_drawings(section, drawings, folder) for section in sections]
    if any(why is not None for _, why in drawn):
        failing = [
            section if why is None else replace(section, failure=why)
            for section, (_, why) in zip(sections, drawn, strict=True)
        ]
        page = html(report, failing, script.result() if script else "")
    index = _write(folder / "index.html", page.text)
    written += [path for paths, _ in drawn for path in paths]
    _sweep(folder, {path.name for path in (*written, index)})
    return Paths(folder, index, (*written, index), page.failures)


def _drawing(figure: Figure) -> tuple[str, bytes]:
    drawing = svg(figure)
    return drawing, pdf(drawing)


def _write_drawings(
    section: BuiltSection, drawings: Mapping[str, Future[tuple[str, bytes]]], folder: Path
) -> tuple[list[Path], SectionFailure | None]:
    """Write a section's figures as they are drawn; return the files, and why not all are there."""
    written: list[Path] = []
    for name in section.figures:
        try:
            as_svg, as_pdf = drawings[name].result()
        except Exception as error:
            return written, failure(section.name, section.title, "drawn", error, section.path)
        written.append(_write(folder / f"{name}.svg", as_svg))
        written.append(_write(folder / f"{name}.pdf", as_pdf))
    return written, None


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove tables and figures of an earlier report; whatever else lies there is the user's."""
    sections, _ = load_sections()
    names = {f"{name}.{ending}" for section in sections for name in section.tables for ending in _TABLE_FILES}
    names |= {f"{name}.{ending}" for section in sections for name in section.figures for ending in ("svg", "pdf")}
    for name in names - kept:
        (folder / name).unlink(missing_ok=True)


def _write(path: Path, content: Content) -> Path:
    return write_file(path, content, durable=False)  # a report can be made again
