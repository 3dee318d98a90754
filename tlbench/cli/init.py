"""The command ``init``: writes a suite for the user's own data."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tlbench.api.open_suite import open_workspace
from tlbench.cli.options import WorkspacePath, as_path
from tlbench.cli.output import err, out
from tlbench.core.errors import UserError


def init(
    data: Annotated[
        Path,
        typer.Argument(metavar="PATH", parser=as_path, help="A folder or zip of images, or a table of texts."),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", parser=as_path, help="The suite.", show_default="suites/NAME.yaml"),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=1.0, help="How long a run may take.")] = 10.0,
    text_column: Annotated[str | None, typer.Option("--text-column", help="The column with the texts.")] = None,
    label_column: Annotated[str | None, typer.Option("--label-column", help="The column with the classes.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a suite that is there.")] = False,
    workspace: WorkspacePath = None,
) -> None:
    """Look at your data, and write a suite that answers within a stated time."""
    from tlbench.planning.first_suite.choices import choose
    from tlbench.planning.first_suite.data_facts import look
    from tlbench.planning.first_suite.networks import find_network
    from tlbench.planning.first_suite.suite_text import facts_lines, suite_text
    from tlbench.store.atomic_write import write_file

    name = re.sub(r"[^a-z0-9_-]+", "-", data.name.removesuffix(data.suffix if data.is_file() else "").lower()).strip(
        "-"
    )
    suite = Path("suites") / f"{name or 'data'}.yaml" if to is None else to
    if suite.exists() and not overwrite:
        raise UserError(f"{suite}: is there already", "give another place with --to, or --overwrite")
    columns = {"text_column": text_column, "label_column": label_column}
    artifacts = open_workspace(workspace).artifacts
    with err.status("looking at the data") as shown:
        facts = look(data, artifacts, {key: value for key, value in columns.items() if value is not None})
        shown.update("looking for a network")
        network = find_network(facts.info.modality, facts.words)
    for line in facts_lines(facts):
        out.print(escape(line))
    choices = choose(facts, network, minutes, _cores())
    suite.parent.mkdir(parents=True, exist_ok=True)
    write_file(suite, suite_text(suite, facts, network, choices, minutes))
    compared = ", ".join(("linear_probe", "knn", *choices.trained))
    out.print(f"compares {compared} on {escape(network.info.label)}")
    out.print(f"wrote {escape(str(suite))}: `tlbench run {escape(str(suite))}` answers in about {minutes:g} minutes")


def _cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
