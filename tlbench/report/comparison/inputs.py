"""Holds two things against each other that a user names: frozen tags, or selections of results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.plugins import registry
from tlbench.report.comparison import snapshot_changes as changes
from tlbench.report.comparison import text as compare_text
from tlbench.report.comparison.selections import compare
from tlbench.report.comparison.snapshots import read, tags
from tlbench.report.results import Results


def hold(first: str, second: str, reports: Path, load: Callable[[], Results]) -> tuple[dict[str, Any], str]:
    """Return a comparison as plain values and as text.

    Two names that both are frozen tags mean these; ``method=NAME`` always means a method.

    Args:
        first: A tag or a selector.
        second: The same.
        reports: Where reports, and frozen ones, are written.
        load: Reads the results that selectors select from; not called for tags.

    Raises:
        UserError: One is a tag, and no method's name, and the other is none; or see :func:`compare` and :func:`read`.
    """
    known = tags(reports)
    if first in known and second in known:
        found = changes.changes(read(first, reports), read(second, reports))
        return found.as_json(), changes.told(found)
    for tag, other in ((first, second), (second, first)):
        if tag in known and tag not in registry.names("methods"):
            raise UserError(f"{tag!r} is a frozen tag and {other!r} is none", nearest(other, known))
    comparison = compare(first, second, load())
    return comparison.as_json(), compare_text.told(comparison)
