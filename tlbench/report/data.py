"""What MLflow holds of a suite, as one data frame: a row is a finished cell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical
from tlbench.report import from_rest, from_sqlite
from tlbench.report.stored import StoredExperiment, StoredRun
from tlbench.store import mlflow_layout as layout

TEXTS = tuple(name for name in layout.PARAMS if name != "seed")
NUMBERS = (
    "test/accuracy", "test/accuracy_ci95", "test/macro_f1", "test/nll", "test/ece", "validation/accuracy",
    "cost/seconds", "cost/train_seconds", "cost/peak_memory", "footprint/trainable", "footprint/total",
    "footprint/stored_bytes",
)  # fmt: skip
COLUMNS = ("run_id", "cell", "digest", "ended", *TEXTS, "seed", "options", "params", "transductive", "oracle", *NUMBERS)


@dataclass(frozen=True)
class Failure:
    """A cell that failed and has no result."""

    cell: str
    what: str
    error: str


@dataclass(frozen=True)
class NotApplicable:
    """Cells that make no sense, and why."""

    count: int
    reason: str
    what: str


@dataclass(frozen=True)
class Results:
    """Everything that a report is made of.

    Attributes:
        suite: Name.
        place: Where it was read from, without credentials.
        done: One row per cell with a result. Columns :data:`COLUMNS` and further scores and costs under their MLflow
            names; ``shots`` is text, ``ended`` is in seconds since the epoch, ``options`` and ``params`` are canonical
            JSON, ``transductive`` and ``oracle`` are truth values.
        provenance: Values and the number of cells that have them, by name (``torch``, ``commit``, ...).
        failed: Cells that failed and have no result.
        planned: Cells that the suite asks for; None when no plan was stored.
        not_applicable: Combinations that the plan left out.
        baseline: The suite's baseline as written there; empty when none was stored.
        suite_text: The suite file; empty when none was stored.
        notes: What a reader must know of how the rows were chosen.
    """

    suite: str
    place: str
    done: pd.DataFrame
    provenance: dict[str, dict[str, int]]
    failed: tuple[Failure, ...]
    planned: int | None
    not_applicable: tuple[NotApplicable, ...]
    baseline: str
    suite_text: str
    notes: tuple[str, ...]


def load(suite: str, uri: str) -> Results:
    """Read a suite's results from MLflow.

    Args:
        suite: The suite's name, which is the experiment's name.
        uri: ``sqlite:///...``, read as a file, or the ``http(s)://`` address of a tracking server.

    Raises:
        UserError: The store cannot be reached or read, or has no such suite.
    """
    if uri.startswith(from_sqlite.SCHEME):
        return tidy(suite, uri, from_sqlite.read(uri, suite))
    if uri.startswith(from_rest.SCHEMES):
        return tidy(suite, from_rest.without_credentials(uri), from_rest.read(uri, suite))
    raise UserError(
        f"a report reads sqlite:///FILE or the http(s):// address of an MLflow server, not {uri.partition(':')[0]!r}",
        "another store can be read through `mlflow server --backend-store-uri ...`",
    )


def tidy(suite: str, place: str, stored: StoredExperiment) -> Results:
    """Turn what MLflow stored into results: one row a finished cell, failures apart."""
    notes: list[str] = []
    finished = _first_of_each_cell(_complete(stored.runs, notes), notes)
    rows = [_row(run) for run in finished]
    done = pd.DataFrame(rows, columns=_columns(rows))
    done[list(NUMBERS)] = done[list(NUMBERS)].astype("float64")
    plan: dict[str, Any] = _json(stored.tags.get(layout.PLAN_TAG, ""), {})
    return Results(
        suite=suite,
        place=place,
        done=done,
        provenance=_provenance(finished),
        failed=_failures(stored.runs, {run.tags[layout.CELL_TAG] for run in finished}),
        planned=plan.get("cells"),
        not_applicable=tuple(
            NotApplicable(int(each["count"]), str(each["reason"]), str(each["what"]))
            for each in plan.get("not_applicable", ())
        ),
        baseline=stored.tags.get(layout.BASELINE_TAG, ""),
        suite_text=stored.tags.get(layout.SUITE_TAG, ""),
        notes=tuple(notes),
    )


def _complete(runs: Iterable[StoredRun], notes: list[str]) -> list[StoredRun]:
    """Keep finished runs with a digest: the last thing written before a run is finished."""
    finished = [run for run in runs if run.status == "FINISHED"]
    needed = set(layout.PARAMS)
    complete = [
        run
        for run in finished
        if run.tags.get(layout.DIGEST_TAG) and run.tags.get(layout.CELL_TAG) and run.params.keys() >= needed
    ]
    if len(complete) < len(finished):
        notes.append(
            f"finished runs left out because they are not tlbench's or lack a digest: {len(finished) - len(complete)}"
        )
    return complete


def _first_of_each_cell(runs: Iterable[StoredRun], notes: list[str]) -> list[StoredRun]:
    kept: dict[str, StoredRun] = {}
    conflicts = set()
    for run in sorted(runs, key=lambda run: run.id):
        first = kept.setdefault(run.tags[layout.CELL_TAG], run)
        if first.tags[layout.DIGEST_TAG] != run.tags[layout.DIGEST_TAG]:
            conflicts.add(run.tags[layout.CELL_TAG])
    if conflicts:
        notes.append(
            f"cells with several results that differ, of which the run with the smallest id counts: {len(conflicts)}, "
            f"e.g. {min(conflicts)}"
        )
    return list(kept.values())


def _row(run: StoredRun) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "cell": run.tags[layout.CELL_TAG],
        "digest": run.tags[layout.DIGEST_TAG],
        "ended": run.ended,
        **{key: run.params[key] for key in TEXTS},
        "seed": int(run.params["seed"]),
        "options": canonical(_under(run.params, layout.OPTION_PREFIX)),
        "params": canonical(_under(run.params, layout.PARAM_PREFIX)),
        "transductive": layout.TRANSDUCTIVE_TAG in run.tags,
        "oracle": layout.ORACLE_TAG in run.tags,
        **run.metrics,
    }


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    further = sorted({key for row in rows for key in row}.difference(COLUMNS))
    return [*COLUMNS, *further]


def _under(pairs: dict[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: value for key, value in pairs.items() if key.startswith(prefix)}


def _provenance(runs: Iterable[StoredRun]) -> dict[str, dict[str, int]]:
    pairs = Counter(pair for run in runs for pair in run.tags.items())
    counts: dict[str, dict[str, int]] = {}
    for (key, value), cells in sorted(pairs.items()):
        if key.startswith(layout.PROVENANCE_PREFIX):
            counts.setdefault(key[len(layout.PROVENANCE_PREFIX) :], {})[value] = cells
    return counts


def _failures(runs: Iterable[StoredRun], done: set[str]) -> tuple[Failure, ...]:
    latest: dict[str, StoredRun] = {}
    for run in sorted(runs, key=lambda run: (run.ended, run.id)):
        cell = run.tags.get(layout.CELL_TAG, "")
        if run.status == "FAILED" and cell and cell not in done:
            latest[cell] = run
    return tuple(
        Failure(cell, _what(run.params), run.tags.get(layout.ERROR_TAG, "no message was stored"))
        for cell, run in sorted(latest.items(), key=lambda item: _what(item[1].params))
    )


def _what(params: dict[str, str]) -> str:
    parts = [params.get(key, "?") for key in ("protocol", "method_label", "backbone_label", "dataset", "shots", "seed")]
    return "{} | {} | {} | {} | {} shots | seed {}".format(*parts)


def _json(text: str, default: Any) -> Any:
    try:
        return json.loads(text) if text else default
    except ValueError:
        return default
