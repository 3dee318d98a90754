"""A search whose trials come from other code begins anew where that is asked for, and its cells with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlbench.core.record import Record
from tlbench.plugins.code_mark import FORM
from tlbench.report.results import load
from tlbench.store.ledger import Ledger

SUITE = {
    "name": "aged",
    "grids": [
        {
            "protocol": "classification",
            "methods": [{"name": "finetune", "params": {"epochs": 2}}, "nearest_centroid"],
            "backbones": [{"name": "conv4", "width": 4}],
            "datasets": ["digits"],
            "shots": [5, 10],
            "seeds": 1,
        }
    ],
    "search": {
        "trials": 2,
        "scheduler": "none",
        "declared": False,
        "space": {"finetune": {"lr": {"log_uniform": [1e-4, 1e-2]}}},
    },
}


def records(workspace: Path) -> dict[str, Record]:
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return {record.id: record for record in ledger.records()}


def age(workspace: Path, records: list[Record]) -> None:
    """Give records in the ledger the marks of other code."""
    link = sqlite3.connect(workspace / "ledger.sqlite")
    with link:
        for record in records:
            link.execute("UPDATE records SET method_source = ? WHERE cell = ?", (FORM + "0" * 16, record.id))
    link.close()


def chosen(cells: list[Record], shots: int) -> Record:
    """Return the cell with what a search found: the default's, where there is no other beside it."""
    own = [each for each in cells if each.cell.method == "finetune" and each.cell.shots == shots]
    return next((each for each in own if each.cell.winner is not None), own[0])


@pytest.mark.slow
def test_a_stale_search_begins_anew_and_its_cells_with_it(
    tmp_path: Path, write_suite: Callable[[dict[str, Any]], Path], tlbench: Any
) -> None:
    suite, workspace = str(write_suite(SUITE)), tmp_path / "workspace"
    place = ("--workspace", str(workspace))
    first = tlbench("run", suite, *place)
    assert first.returncode == 0, first.stderr
    before = records(workspace)
    trials = [record for record in before.values() if record.cell.trial is not None]
    cells = [record for record in before.values() if record.cell.trial is None]
    tuned = [chosen(cells, shots) for shots in (5, 10)]
    searches = {record.cell.trial.setting for record in trials}
    assert (len(trials), len(searches)) == (4, 2)
    aged = [record for record in trials if record.cell.shots == 5]
    age(workspace, aged)

    status = json.loads(tlbench("plan", suite, *place, "--json").stdout)
    assert status["trials"]["stale"] == 2
    assert (status["stale"], status["done"], status["todo"]) == (1, len(cells) - 1, 0), "the cell that the search tuned"
    plain = tlbench("run", suite, *place)
    assert plain.returncode == 0, plain.stderr
    assert "nothing left to run" in plain.stdout
    assert records(workspace) == before, "stale trials count unless something else is asked for"

    again = tlbench("run", suite, *place, "--only", "stale")
    assert again.returncode == 0, again.stderr
    after = records(workspace)
    assert {name: each.digest for name, each in after.items()} == {name: each.digest for name, each in before.items()}
    renewed = {name for name, each in after.items() if each.cost.started > before[name].cost.started}
    assert renewed == {record.id for record in aged}, "the winner is the one before, and its cell is as it was"
    status = json.loads(tlbench("plan", suite, *place, "--json").stdout)
    assert (status["trials"]["stale"], status["stale"], status["done"]) == (0, 0, len(cells))
    assert len(load("aged", f"sqlite:///{workspace / 'mlflow.db'}").trials) == 4

    age(workspace, [*aged, *tuned])
    last = tlbench("run", suite, *place, "--only", "stale")
    assert last.returncode == 0, last.stderr
    final = records(workspace)
    renewed = {name for name, each in final.items() if each.cost.started > after[name].cost.started}
    assert renewed == {record.id for record in (*aged, *tuned)}
