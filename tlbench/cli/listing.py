"""What there is to choose from, one line each. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tlbench.backbones import catalog as architectures
from tlbench.core.errors import UserError, nearest
from tlbench.data import catalog as data
from tlbench.plugins import registry

Row = tuple[str, str]


def listing(what: str) -> list[Row]:
    """Return (name, one line) of all methods, protocols, backbones, datasets or suites.

    Raises:
        UserError: There is no such list.
    """
    lists: dict[str, Callable[[], list[Row]]] = {
        "methods": lambda: _declared("methods"),
        "protocols": lambda: _declared("protocols"),
        "backbones": lambda: list(architectures.summaries().items()),
        "datasets": lambda: list(data.summaries().items()),
        "suites": _suites,
    }
    if what not in lists:
        raise UserError(f"there is no list of {what!r}", nearest(what, lists))
    return lists[what]()


def _declared(kind: registry.Kind) -> list[Row]:
    found = [registry.declaration(kind, name) for name in registry.names(kind)]
    return [(one.name, f"{one.summary} {one.paper}".strip()) for one in found]


def _suites() -> list[Row]:
    """Return the suite files of ``suites/`` here; the line is the file's opening comment, its command apart."""
    rows = []
    for path in sorted(Path("suites").glob("*.y*ml")):
        comments = [line.lstrip("# ").strip() for line in path.read_text(encoding="utf-8").splitlines()]
        told = [line for line in comments[1:] if line]
        rows.append((str(path), told[0] if told else ""))
    return rows


def suite_files() -> list[Path]:
    """Return the YAML files here and in ``suites/``."""
    return sorted(path for folder in (Path(), Path("suites")) for path in folder.glob("*.y*ml"))
