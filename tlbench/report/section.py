"""What a section of the page is: a module that declares a title and its files, and builds its content from a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.table import Table


@dataclass(frozen=True)
class Content:
    """What a section shows of one report.

    Attributes:
        figures: Figures of the page, each also written as svg and pdf. Those without data are left out.
        tables: Tables of the page, each also written as csv, markdown and TeX. Those without a row are left out, except
            where :attr:`tlbench.report.table.Table.is_always_written`.
        notes: Paragraphs of plain text between figures and tables, e.g. why there is no figure. Shown by the default
            template, ``section.html.j2``; a template of the section's own may show them or not.
        footnotes: Paragraphs of plain text in small print, after the tables.
        context: What the section's own template reads as ``context``: a frozen dataclass of the section's own.
        is_listed: Whether the section stands on the page; one that nobody asked for need not.
    """

    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    context: object = None
    is_listed: bool = True


class Section(Protocol):
    """A module that is one section of the page.

    It is a file of ``tlbench/report/sections``, or a module that a distribution exposes as an entry point of the group
    ``tlbench.report_sections``. The name of the file or of the entry point is the section's id: its anchor on the page.
    A template ``NAME.html.j2`` beside the module shows the content; without one the default template shows the figures,
    the notes and the tables. Module-level names in upper case are declarations, and one that is not listed here is
    refused; constants of the module's own begin with an underscore.

    Every time a report is written, each section is imported, checked, built once, in the order of the page, and then
    rendered. An error at any of these steps is shown in the section's place, and all other sections are written.

    Attributes:
        TITLE: Heading on the page and in its navigation.
        ORDER: Place on the page, smallest first; equal places are ordered by id. Sections of this package have
            multiples of five.
        TABLES: Names of all tables that the section may have: file names without their ending, each in one section
            only. Files of these names that an earlier report left behind are removed.
        FIGURES: The same for its figures.
    """

    TITLE: str
    ORDER: int
    TABLES: tuple[str, ...]
    FIGURES: tuple[str, ...]

    def build(self, report: Report, /) -> Content:
        """Return what the section shows of a report; called once for each report."""
