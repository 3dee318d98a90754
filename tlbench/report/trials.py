"""The search's trials by setting: how many, what they cost, what they chose, and how that scored on the test."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from tlbench.report import text
from tlbench.report.sheet import Part, Sheet, Value
from tlbench.report.stored import StoredRun
from tlbench.report.tables import SettingRow
from tlbench.store import mlflow_layout as layout

COLUMNS = ("setting", "method", "trial", "value", "best", "seconds", "cost", "status", "params")
"""Of a frame of trials; :func:`tlbench.report.figures.search.frame` says what they hold."""
_NOTE = (
    "What was chosen on validation, and its test accuracy. A validation score is the best of many, so that it promises "
    "too much; the test was read once."
)


def none() -> pd.DataFrame:
    """Return a frame of no trials."""
    return pd.DataFrame({name: pd.Series(dtype="float64") for name in COLUMNS})


def setting(protocol: str, method: str, backbone: str, dataset: str, shots: str) -> str:
    """Return the text that names a setting in a frame of trials."""
    return f"{method} · {backbone} · {dataset}, {shots} · {protocol}"


def apart(runs: Iterable[StoredRun]) -> tuple[list[StoredRun], list[StoredRun]]:
    """Return the runs of cells, and those of trials; the runs under which trials stand are neither."""
    known = [run for run in runs if layout.SEARCH_TAG not in run.tags]
    tried = [run for run in known if layout.TRIAL_TAG in run.tags]
    return [run for run in known if layout.TRIAL_TAG not in run.tags], tried


def of_runs(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """Return one row a trial, in the order in which they ended."""
    best: dict[str, float] = {}
    spent: dict[str, float] = {}
    rows = []
    for run in sorted(runs, key=lambda run: (run.ended, int(run.tags[layout.TRIAL_TAG]))):
        said, took = run.params, run.metrics
        names = [said.get(key, "") for key in ("protocol", "method_label", "backbone_label", "dataset", "shots")]
        name = setting(*names)
        value = took.get(f"validation/{said.get('option.validator', 'accuracy')}", math.nan)
        status = "failed" if run.status == "FAILED" else "stopped" if layout.STOPPED_TAG in run.tags else "done"
        if status == "done" and math.isfinite(value):
            best[name] = max(value, best.get(name, -math.inf))
        seconds = took.get("cost/seconds", 0.0)
        spent[name] = spent.get(name, 0.0) + seconds * (took.get("cost/gpus") or took.get("cost/cpus") or 1.0)
        number, values = int(run.tags[layout.TRIAL_TAG]), run.tags.get(layout.VALUES_TAG, "{}")
        rows.append((name, names[1], number, value, best.get(name, math.nan), seconds, spent[name], status, values))
    return pd.DataFrame(rows, columns=list(COLUMNS)) if rows else none()


def spent(rows: Iterable[SettingRow], trials: pd.DataFrame) -> dict[tuple[str, str, str], int]:
    """Return the number of trials over the settings of a row, by protocol, method and backbone."""
    counts = trials.groupby("setting").size().to_dict()
    found: dict[tuple[str, str, str], int] = {}
    for row in rows:
        number = counts.get(setting(row.protocol, row.method, row.backbone, row.dataset, row.shots), 0)
        if number:
            key = (row.protocol, row.method, row.backbone)
            found[key] = found.get(key, 0) + number
    return found


def trials_sheet(rows: Iterable[SettingRow], trials: pd.DataFrame) -> Sheet:
    """Return one row a searched setting: budget, choice, validation and test.

    Args:
        rows: From :func:`tlbench.report.tables.settings`.
        trials: One row a trial.
    """
    test = {setting(row.protocol, row.method, row.backbone, row.dataset, row.shots): row.accuracy.mean for row in rows}
    records: list[dict[str, Value]] = []
    for name, group in trials.groupby("setting", sort=False):
        best = next(group.dropna(subset=["value"]).nlargest(1, "value").itertuples(index=False), None)
        records.append(
            {
                "setting": str(name),
                "trials": len(group),
                "failed": int((group["status"] == "failed").sum()),
                "cost_seconds": float(group["cost"].max()),
                "params": "" if best is None else str(best.params),
                "validation": None if best is None else float(str(best.value)),
                "test": test.get(str(name)),
            }
        )
    body = [
        (
            str(each["setting"]),
            str(each["trials"]),
            str(each["failed"]),
            text.seconds(_number(each["cost_seconds"])),
            text.percent(_number(each["validation"])),
            text.percent(_number(each["test"])),
            str(each["params"]),
        )
        for each in records
    ]
    head = ("setting", "trials", "failed", "device time", "validation", "test", "chosen")
    parts = [Part("Chosen settings", head, body, (0, 6), _NOTE)] if body else []
    return Sheet("search", records, ("setting", "trials", "params", "validation", "test"), parts)


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
