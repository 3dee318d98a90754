"""The command ``list``: what there is to choose from, one line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tlbench.cli.options import Json
from tlbench.cli.output import err, out, print_json
from tlbench.core.errors import UserError, nearest

if TYPE_CHECKING:
    from tlbench.plugins.registry import Kind

Row = tuple[str, str]
"""A name, and a line about it."""


def list_names(
    what: Annotated[
        str, typer.Argument(help="methods, protocols, backbones, datasets, metrics or suites.")
    ] = "methods",
    as_json: Json = False,
) -> None:
    """List what there is, one line each."""
    rows = rows_of(what)
    if as_json:
        print_json([{"name": name, "about": about} for name, about in rows])
        return
    width = max((len(name) for name, _ in rows), default=0)
    if not rows:
        err.print(f"there are no {what} here" + (": no file suites/*.yaml" if what == "suites" else ""))
    for name, about in rows:
        out.print(f"[bold]{escape(name.ljust(width))}[/]  {escape(about)}")


def rows_of(what: str) -> list[Row]:
    """Return all methods, protocols, backbones, datasets, metrics or suites. Imports no torch.

    Raises:
        UserError: There is no such list.
    """
    lists: dict[str, Callable[[], list[Row]]] = {
        "methods": lambda: _declared("methods"),
        "protocols": lambda: _declared("protocols"),
        "backbones": _backbones,
        "datasets": _datasets,
        "metrics": _metrics,
        "suites": _suites,
    }
    if what not in lists:
        raise UserError(f"there is no list of {what!r}", nearest(what, lists))
    return lists[what]()


def _declared(kind: Kind) -> list[Row]:
    from tlbench.plugins import registry

    declarations = [registry.declaration(kind, name) for name in registry.names(kind)]
    return [(each.name, f"{each.summary} {each.paper}".strip()) for each in declarations]


def _backbones() -> list[Row]:
    from tlbench.backbones import catalog

    return list(catalog.summaries().items())


def _datasets() -> list[Row]:
    from tlbench.data import catalog

    return list(catalog.summaries().items())


def _metrics() -> list[Row]:
    from tlbench.plugins.metrics import metric_declaration, metric_names

    return [(name, metric_declaration(name).summary) for name in metric_names()]


def _suites() -> list[Row]:
    """Return the suite files of ``suites/`` here, with the first line of their opening comment after the command."""
    rows = []
    for path in sorted(Path("suites").glob("*.y*ml")):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        comments = [line.lstrip("# ").strip() for line in text.splitlines()]
        about = next((line for line in comments[1:] if line), "")
        rows.append((str(path), about))
    return rows
