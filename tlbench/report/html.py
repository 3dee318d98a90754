"""The page as one text: every section rendered by its template, inside the frame of the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

import tlbench
from tlbench.report import chart_style, notes
from tlbench.report import number_format as text
from tlbench.report.built_sections import BuiltSection, SectionFailure, failure
from tlbench.report.report_data import Report
from tlbench.report.table import Bold

SHOWN = 300
"""Rows of a table that the page shows; the files beside it hold all."""
_LONG = 40  # rows from which a table scrolls by itself
_MARKS = re.compile(r"([(/@,=:_·]|-\b)")
_HEAD, _TAIL = 8, 6  # lines of a long traceback
_TEMPLATES = Path(__file__).parent / "templates"
_DEFAULT = "section.html.j2"


@dataclass(frozen=True)
class Page:
    """The page.

    Attributes:
        text: HTML.
        failures: Sections that could not be loaded, built or rendered; the page says so in their places.
    """

    text: str
    failures: tuple[SectionFailure, ...]


@dataclass(frozen=True)
class _Rendered:
    """A section and what its template made of it."""

    section: BuiltSection
    body: Markup


def html(report: Report, sections: Sequence[BuiltSection], script: str = "") -> Page:
    """Return the page. Every name and message is escaped; nothing is loaded from anywhere.

    A template reads ``report``, its own ``section`` and ``context``, all ``sections``, ``text`` (the functions of
    :mod:`tlbench.report.number_format`), ``notes`` (:mod:`tlbench.report.notes`), and ``shown`` and ``long``, the
    numbers of rows from which a table is cut and scrolls by itself.

    Args:
        report: What the sections were built from.
        sections: In their order on the page.
        script: :func:`tlbench.report.vega_bundle.library`, or empty where there is no figure.
    """
    rendered = [_render(report, section, sections) for section in sections if section.is_listed]
    figures = [figure for each in rendered for figure in each.section.figures.values()]
    specs = {"day": chart_style.DAY, "night": chart_style.NIGHT, "specs": {each.name: each.spec for each in figures}}
    failures = tuple(each.section.failure for each in rendered if each.section.failure is not None)
    whole = (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            rendered=rendered,
            failures=failures,
            specs=specs if figures else None,
            library=script,
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=tlbench.__version__,
        )
    )
    return Page(whole, failures)


def _render(report: Report, section: BuiltSection, sections: Sequence[BuiltSection]) -> _Rendered:
    if section.failure is None:
        try:
            return _Rendered(section, _body(report, section, sections))
        except Exception as error:
            section = replace(section, failure=failure(section.name, section.title, "rendered", error, section.path))
    template = _environment().get_template("failed_section.html.j2")
    return _Rendered(section, Markup(template.render(failure=section.failure)))


def _body(report: Report, section: BuiltSection, sections: Sequence[BuiltSection]) -> Markup:
    template = _environment().get_template(_DEFAULT if section.template is None else str(section.template))
    body = template.render(
        report=report,
        section=section,
        context=section.context,
        sections=sections,
        shown=SHOWN,
        long=_LONG,
    )
    return Markup(body)  # escaped by the template


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(_TEMPLATES), jinja2.FunctionLoader(_template_beside)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["text"] = text
    environment.globals["notes"] = notes
    environment.filters["name"] = _breakable
    environment.filters["shell"] = lambda suite: shlex.quote(f"{suite}.yaml")
    environment.filters["excerpt"] = _excerpt
    environment.filters["first_capital"] = lambda words: f"{words[:1].upper()}{words[1:]}"
    environment.tests["bold"] = lambda cell: isinstance(cell, Bold)
    return environment


def _template_beside(name: str) -> tuple[str, str, None] | None:
    """Return the template of a section, which is named by its path."""
    path = Path(name)
    return (path.read_text(encoding="utf-8"), name, None) if path.is_absolute() and path.is_file() else None


def _breakable(name: str) -> Markup:
    """Return a name that breaks, where it must, behind its marks and not within a word."""
    arrow = str(escape("->"))
    marked = _MARKS.sub(r"\1<wbr>", str(escape(name)))
    return Markup(marked.replace(arrow, f'<span class="whole">{arrow}</span>'))


def _excerpt(traceback: str) -> str:
    """Return the first and the last lines of a traceback: where it started, and what went wrong."""
    lines = traceback.splitlines()
    if len(lines) <= _HEAD + _TAIL:
        return traceback
    return "\n".join([*lines[:_HEAD], f"... {len(lines) - _HEAD - _TAIL} lines ...", *lines[-_TAIL:]])
