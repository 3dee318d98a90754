"""Compares two things that a user names: frozen tags, or selections of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.plugins import registry
from tlbench.report.comparison.selections import compare_selections
from tlbench.report.comparison.selections_text import selections_text
from tlbench.report.comparison.snapshot_changes import changes_text, snapshot_changes
from tlbench.report.comparison.snapshots import read, tags
from tlbench.report.results import Results


@dataclass(frozen=True)
class ComparisonOutput:
    """A comparison as it is printed: ``values`` as JSON, ``text`` as lines for people."""

    values: dict[str, Any]
    text: str


def compare(first: str, second: str, reports: Path, load: Callable[[], Results]) -> ComparisonOutput:
    """Compare two frozen tags, or two selections of results.

    Two names that both are frozen tags mean these; ``method=NAME`` always means a method.

    Args:
        first: A tag or a selector.
        second: The same.
        reports: Where reports, and frozen ones, are written.
        load: Reads the results that selectors select from; not called for tags.

    Raises:
        UserError: One is a tag, and no method's name, and the other is none; or as
            :func:`tlbench.report.comparison.selections.compare_selections` and
            :func:`tlbench.report.comparison.snapshots.read` say.
    """
    known = tags(reports)
    if first in known and second in known:
        changes = snapshot_changes(read(first, reports), read(second, reports))
        return ComparisonOutput(changes.as_json(), changes_text(changes))
    for tag, other in ((first, second), (second, first)):
        if tag in known and tag not in registry.names("methods"):
            raise UserError(f"{tag!r} is a frozen tag and {other!r} is none", nearest(other, known))
    comparison = compare_selections(first, second, load())
    return ComparisonOutput(comparison.as_json(), selections_text(comparison))
