"""For every row of the leaderboard, and every suite that has it, the command that makes it again and its runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.results import Results
from tlbench.report.table import Table, TablePart

_SERVERS = ("http://", "https://")
_UI = "http://127.0.0.1:5000"  # where `tlbench ui` serves a local store


@dataclass(frozen=True)
class Reproduction:
    """How a row came to be, in one suite that has it.

    Attributes:
        suite: Name.
        method: Name on the page, ``method_label`` in full; likewise the backbone's.
        command: For a shell, beside the suite's file.
        runs: Address of its runs in MLflow's pages.
    """

    suite: str
    protocol: str
    method: str
    backbone: str
    method_label: str
    backbone_label: str
    command: str
    runs: str


def reproductions(suites: Iterable[Results], cells: Iterable[ComparableCell]) -> tuple[Reproduction, ...]:
    """Return one entry a protocol, method and backbone, in the order of the cells; for each suite that has them.

    Args:
        suites: What MLflow holds of each.
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
    """
    cells = tuple(cells)
    found = []
    for results in suites:
        own = set(results.done["cell"])
        rows = {(cell.protocol, cell.method, cell.backbone): cell for cell in cells if cell.cell in own}
        server = results.place if results.place.startswith(_SERVERS) else _UI
        base = f"{server.rstrip('/')}/#/experiments/{quote(results.experiment)}"
        found += [
            Reproduction(
                suite=results.suite,
                protocol=cell.protocol,
                method=cell.method,
                backbone=cell.backbone,
                method_label=cell.method_label,
                backbone_label=cell.backbone_label,
                command=_command(results.suite, cell),
                runs=f"{base}/runs?searchFilter={quote(_filter(cell), safe='')}",
            )
            for cell in rows.values()
        ]
    return tuple(found)


def reproduction_table(found: Iterable[Reproduction]) -> Table:
    """Return one row a reproduction."""
    found = tuple(found)
    body = [(each.protocol, each.method, each.backbone, each.command) for each in found]
    head = ("protocol", "method", "backbone", "command")
    return Table(
        name="reproduction",
        records=[
            {"protocol": each.protocol, "method": each.method, "backbone": each.backbone,
             "method_label": each.method_label, "backbone_label": each.backbone_label, "command": each.command,
             "mlflow": each.runs}
            for each in found
        ],
        columns=head,
        parts=[TablePart("", head, body, (0, 1, 2, 3))] if body else [],
    )  # fmt: skip


def _command(suite: str, cell: ComparableCell) -> str:
    file = f"{suite}.yaml"
    wanted = {"protocol": cell.protocol_name, "label": cell.method_label, "backbone": cell.backbone_label}
    quoted = [_quoted(value) for value in wanted.values()]
    if not all(quoted):
        return shlex.join(["tlbench", "run", file])
    selector = " ".join(f"{name}={value}" for name, value in zip(wanted, quoted, strict=True))
    return shlex.join(["tlbench", "run", file, "--only", selector])


def _quoted(value: str) -> str:
    """Return a value as a selector takes it; empty for one with both kinds of quotes, that none can name."""
    mark = next((mark for mark in "\"'" if mark not in value), "")
    return f"{mark}{value}{mark}" if mark else ""


def _filter(cell: ComparableCell) -> str:
    wanted = {"method_label": cell.method_label, "backbone_label": cell.backbone_label}
    return " and ".join(f"params.{name} = {_quoted(value)}" for name, value in wanted.items() if _quoted(value))
