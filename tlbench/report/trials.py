"""What MLflow holds of a search: its trials, as one data frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

import pandas as pd

from tlbench.core.hashing import canonical
from tlbench.core.segments import GENERATIONS, Segment, Segments
from tlbench.report.rows.settings import SettingRow
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.stored_experiment import StoredRun
from tlbench.suite.search_validation import VALIDATOR

COLUMNS = (
    "setting", "method", "trial", "value", "best", "seconds", "cost", "status", "params", "winner", "protocol",
    "backbone", "dataset", "shots", "share", "segments", "key", "by",
)  # fmt: skip
"""Of a frame of trials, one row a trial, in the order in which they ended:

* ``setting`` names method, backbone, dataset, shots and protocol (:func:`setting`), which stand alone too, as labels;
* ``trial`` is the number within the setting, from 1 on, which is the default configuration;
* ``value`` is the validation score that ``by`` names, ``accuracy`` or a validator; larger is better, NaN where it
  failed; ``best`` the largest so far of those that were trained to their end;
* ``seconds`` are the trial's, ``cost`` the device-seconds spent in the setting so far, this trial's among them;
* ``status`` is ``done``, ``stopped`` (early) or ``failed``;
* ``params`` is canonical JSON of what was searched;
* ``winner`` says whether the setting's cells took their values from it;
* ``share`` is the part of a training that it is: 1, or that of a generation of a population;
* ``segments`` is canonical JSON of the segments of its training (:mod:`tlbench.core.segments`), else empty;
* ``key`` is the setting's own, which the cells that took their values from it name.
"""
_NUMBERS = ("trial", "value", "best", "seconds", "cost", "share")


def none() -> pd.DataFrame:
    """Return a frame of no trials."""
    return pd.DataFrame({name: pd.Series(dtype="float64" if name in _NUMBERS else "object") for name in COLUMNS})


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
    best: dict[tuple[str, str], float] = {}
    spent: dict[tuple[str, str], float] = {}
    rows = []
    for run in sorted(runs, key=lambda run: (run.ended, int(run.tags[layout.TRIAL_TAG]))):
        said, took = run.params, run.metrics
        names = [said.get(key, "") for key in ("protocol", "method_label", "backbone_label", "dataset", "shots")]
        name = setting(*names)
        options = {option: held for option, held in said.items() if option.startswith(layout.OPTION_PREFIX)}
        alike = name, canonical(options)
        by = options.get(layout.OPTION_PREFIX + VALIDATOR, "accuracy")
        value = took.get(f"validation/{by}", math.nan)
        status = "failed" if run.status == "FAILED" else "stopped" if layout.STOPPED_TAG in run.tags else "done"
        if status == "done" and math.isfinite(value):
            best[alike] = max(value, best.get(alike, -math.inf))
        seconds = took.get("cost/seconds", 0.0)
        spent[alike] = spent.get(alike, 0.0) + seconds * (took.get("cost/gpus") or took.get("cost/cpus") or 1.0)
        number, values = int(run.tags[layout.TRIAL_TAG]), run.tags.get(layout.VALUES_TAG, "{}")
        won = layout.WINNER_TAG in run.tags
        told = (name, names[1], number, value, best.get(alike, math.nan), seconds, spent[alike], status, values, won)
        segments = run.tags.get(layout.SEGMENTS_TAG, "")
        key = run.tags.get(layout.SETTING_TAG, "")
        rows.append((*told, names[0], *names[2:], 1 / len(GENERATIONS) if segments else 1.0, segments, key, by))
    return pd.DataFrame(rows, columns=list(COLUMNS)) if rows else none()


def labelled(trials: pd.DataFrame, labels: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return trials under the labels that tables give to their setting's cells.

    Args:
        trials: As they were stored.
        labels: Labels of protocol and dataset by the setting's key; where it is not there, the stored names stay.
    """
    if trials.empty:
        return trials
    stored = zip(trials["key"], trials["protocol"], trials["dataset"], strict=True)
    found = [labels.get(key, (protocol, dataset)) for key, protocol, dataset in stored]
    told = trials.assign(protocol=[protocol for protocol, _ in found], dataset=[dataset for _, dataset in found])
    names = zip(*(told[name] for name in ("protocol", "method", "backbone", "dataset", "shots")), strict=True)
    return told.assign(setting=[setting(*each) for each in names])


def spent(rows: Iterable[SettingRow], trials: pd.DataFrame) -> dict[tuple[str, str, str], int]:
    """Return the trainings that trials came to, over the settings of a row, by protocol, method and backbone."""
    counts = trials.groupby("setting")["share"].sum().round().astype(int).to_dict()
    found: dict[tuple[str, str, str], int] = {}
    for row in rows:
        number = counts.get(setting(row.protocol, row.method, row.backbone, row.dataset, row.shots), 0)
        if number:
            key = (row.protocol, row.method, row.backbone)
            found[key] = found.get(key, 0) + number
    return found


def of_default(trials: pd.DataFrame) -> pd.Series:
    """Say of each trial whether it has the default configuration; of a population's members the one that came farthest.

    Args:
        trials: All trials of some settings.
    """
    settings = trials["key"] + trials["setting"]
    starts = trials[trials["trial"].eq(1)].set_index(settings[trials["trial"].eq(1)])["params"]
    first = settings.map(starts[~starts.index.duplicated()])
    throughout = trials["segments"].map(lambda text: len(segments_from_text(text)) == 1) & trials["params"].eq(first)
    farthest = trials["trial"].where(throughout).groupby(settings).transform("max")
    return trials["trial"].eq(farthest.fillna(1))


def segments_from_text(text: str) -> Segments:
    """Return the segments of a trial; none where it has none, or where they were too long for the store and cut."""
    try:
        return tuple(Segment(*each) for each in json.loads(text or "[]"))
    except ValueError:
        return ()
