"""Commands that look at suites and results, and run nothing."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape

from tlbench.cli.options import Json, SuitePath, WorkspacePath
from tlbench.cli.output import err, out
from tlbench.cli.shared_steps import prepare, workspace_at


def list_(
    what: Annotated[str, typer.Argument(help="methods, protocols, backbones, datasets or suites.")] = "methods",
    as_json: Json = False,
) -> None:
    """List what there is, one line each."""
    from tlbench.cli.listing import listing

    rows = listing(what)
    if as_json:
        typer.echo(json.dumps([{"name": name, "about": about} for name, about in rows], indent=2))
        return
    width = max((len(name) for name, _ in rows), default=0)
    if not rows:
        err.print(f"there are no {what} here" + (": no file suites/*.yaml" if what == "suites" else ""))
    for name, about in rows:
        out.print(f"[bold]{escape(name.ljust(width))}[/]  {escape(about)}")


def schema() -> None:
    """Print the JSON Schema of suite files, for editors."""
    from tlbench.planning.catalog import full_catalog
    from tlbench.suite.json_schema import schema as suite_schema

    typer.echo(json.dumps(suite_schema(full_catalog()), indent=2))


def check(suite: SuitePath, workspace: WorkspacePath = None) -> None:
    """Check a suite and its data without running anything."""
    from tlbench.planning.cell_text import counted

    prepared = prepare(suite, workspace_at(workspace))
    absent = sum(entry.count for entry in prepared.plan.not_applicable)
    why = f", {absent} not applicable (`tlbench plan {escape(str(suite))}` says why)" if absent else ""
    out.print(f"{escape(str(suite))}: fine, {counted(len(prepared.plan.cells))}{why}")


def plan(suite: SuitePath, workspace: WorkspacePath = None, as_json: Json = False) -> None:
    """Show what is to do, done, failed, stale or not applicable, and what it will cost."""
    from tlbench.planning.status import suite_status

    place = workspace_at(workspace)
    prepared = prepare(suite, place)
    with place.ledger() as ledger:
        seen = suite_status(prepared, ledger)
    if as_json:
        typer.echo(json.dumps(seen.as_json(), indent=2))
        return
    out.print(seen.as_text())
    if seen.cells.todo:
        out.print(f"  `tlbench run {escape(str(suite))}` runs what is to do")


def status(
    suite: SuitePath,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its id and how it stands.")] = False,
    workspace: WorkspacePath = None,
) -> None:
    """Show how a suite stands, and why cells failed."""
    from tlbench.planning.status import failures, suite_status

    place = workspace_at(workspace)
    prepared = prepare(suite, place)
    with place.ledger() as ledger:
        seen = suite_status(prepared, ledger)
        out.print(seen.as_text())
        for text in failures(prepared, ledger):
            out.print(escape(text))
    for each, status in seen.by_cell() if cells else ():
        out.print(f"{each.id}  {status.ljust(6)}  {escape(each.describe().label)}")


def cell(
    cell_id: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, or its first few characters.")],
    workspace: WorkspacePath = None,
    as_json: Json = False,
) -> None:
    """Print one cell's stored record: settings, scores, cost, environment, traceback."""
    from tlbench.planning.cell_text import told

    place = workspace_at(workspace)
    with place.ledger() as ledger:
        record = ledger.record(cell_id)
    if as_json:
        body = record.model_dump(mode="json", exclude={"outcome": {"correct"}})
        typer.echo(json.dumps({**body, "digest": record.digest}, indent=2))
        return
    for line in told(record):
        out.print(escape(line))


COMMANDS = {
    "list": list_,
    "schema": schema,
    "check": check,
    "plan": plan,
    "status": status,
    "cell": cell,
}
