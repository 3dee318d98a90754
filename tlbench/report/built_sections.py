"""Builds the sections of one report; a section that fails is shown as failed, and takes no other with it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlbench.core.errors import UserError, nearest
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.section_plugins import LoadedSection, load_section, refuse_shared_names, section_plugins
from tlbench.report.table import Table

Step = Literal["loaded", "built", "rendered", "drawn"]


@dataclass(frozen=True)
class SectionFailure:
    """A section that could not be loaded, built, rendered or drawn.

    Attributes:
        section: Its name.
        title: Its heading; the name where it has none.
        step: At which step it failed.
        error: What happened, as ``ValueError: the message``.
        path: The section's source file.
        place: Where it happened: file and line, the file alone where no line of the section is at fault.
        traceback: The whole traceback; empty where the error is a refusal that says all.
    """

    section: str
    title: str
    step: Step
    error: str
    path: Path
    place: str
    traceback: str

    def __str__(self) -> str:
        """Return it as one sentence."""
        return f"the section {self.section!r} could not be {self.step}: {self.error} ({self.place})"


@dataclass(frozen=True)
class BuiltSection:
    """A section of one report.

    Attributes:
        name: Its id on the page.
        title: Heading.
        path: Its source file.
        template: The template that shows it; None for the default one.
        tables: Its tables, by name.
        figures: Its figures, by name.
        notes: See :class:`tlbench.report.section.Content`, as of ``footnotes``, ``context`` and ``is_listed``.
        failure: Why there is nothing to show; None where it was built.
    """

    name: str
    title: str
    path: Path
    template: Path | None = None
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    context: object = None
    is_listed: bool = True
    failure: SectionFailure | None = None


def build_sections(report: Report) -> Iterator[BuiltSection]:
    """Yield the sections of a report in the order of the page, those last that cannot be loaded."""
    loaded, failures = load_sections()
    for section in loaded:
        yield build_section(section, report)
    for why in failures:
        yield BuiltSection(why.section, why.title, why.path, failure=why)


def build_section(section: LoadedSection, report: Report) -> BuiltSection:
    """Return a section of a report, or why it could not be built."""
    try:
        return _built(section, section.build(report))
    except Exception as error:
        why = failure(section.name, section.title, "built", error, section.path)
        return BuiltSection(section.name, section.title, section.path, failure=why)


def load_sections() -> tuple[tuple[LoadedSection, ...], tuple[SectionFailure, ...]]:
    """Return all sections in the order of the page, and those that cannot be loaded or are refused."""
    found: list[LoadedSection] = []
    failures: list[SectionFailure] = []
    for plugin in section_plugins().values():
        try:
            found.append(load_section(plugin))
        except Exception as error:
            failures.append(failure(plugin.name, plugin.name, "loaded", error, plugin.path))
    kept: dict[str, LoadedSection] = {}
    for section in sorted(found, key=lambda each: (each.order, each.name)):
        try:
            refuse_shared_names(kept, section)
        except UserError as error:
            failures.append(failure(section.name, section.title, "loaded", error, section.path))
        else:
            kept[section.name] = section
    return tuple(kept.values()), tuple(failures)


def failure(name: str, title: str, step: Step, error: Exception, path: Path) -> SectionFailure:
    """Describe what happened in a section.

    Args:
        name: The section's name.
        title: Its heading.
        step: What was being done.
        error: As it was raised.
        path: The section's source file.
    """
    is_refusal = isinstance(error, UserError)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == path.parent]
    return SectionFailure(
        section=name,
        title=title,
        step=step,
        error=str(error) if is_refusal else f"{type(error).__name__}: {error}",
        path=path,
        place=f"{own[-1].filename}:{own[-1].lineno}" if own and not is_refusal else str(path),
        traceback="" if is_refusal else "".join(traceback.format_exception(error)),
    )


def _built(section: LoadedSection, content: Content) -> BuiltSection:
    if not isinstance(content, Content):
        raise TypeError(f"build returned {type(content).__name__}, not tlbench.report.section.Content")
    _refuse_undeclared("table", [each.name for each in content.tables], section.tables)
    _refuse_undeclared("figure", [each.name for each in content.figures], section.figures)
    figures = {each.name: each for each in content.figures if each}
    for each in figures.values():
        each.spec  # noqa: B018  # drawn here, where an error is the section's own
    return BuiltSection(
        name=section.name,
        title=section.title,
        path=section.path,
        template=section.template,
        tables={each.name: each for each in content.tables if each or each.is_always_written},
        figures=figures,
        notes=content.notes,
        footnotes=content.footnotes,
        context=content.context,
        is_listed=content.is_listed,
    )


def _refuse_undeclared(kind: str, names: list[str], declared: tuple[str, ...]) -> None:
    for name in names:
        if name not in declared:
            known = nearest(name, declared) if declared else ""
            raise ValueError(f"the {kind} {name!r} is not declared in {kind.upper()}S{f'; {known}' if known else ''}")
    if len(set(names)) < len(names):
        raise ValueError(f"two {kind}s have one name: {', '.join(names)}")
