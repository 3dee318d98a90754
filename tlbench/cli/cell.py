"""The command ``cell``: the stored record of one cell."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.cli.options import Json, WorkspacePath
from tlbench.cli.output import out, print_json


def cell(
    cell_id: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, or its first few characters.")],
    workspace: WorkspacePath = None,
    as_json: Json = False,
) -> None:
    """Print one cell's stored record: settings, scores, cost, environment, traceback."""
    from tlbench.cli.record_text import record_lines

    with open_workspace(workspace).ledger() as ledger:
        record = ledger.record(cell_id)
    if as_json:
        body = record.model_dump(mode="json", exclude={"outcome": {"correct"}})
        print_json({**body, "digest": record.digest})
        return
    for line in record_lines(record):
        out.print(escape(line))
