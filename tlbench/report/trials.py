"""What MLflow holds of a search: its trials, as one data frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from tlbench.core.hashing import canonical
from tlbench.core.segments import GENERATIONS
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.stored_experiment import StoredRun
from tlbench.suite.search_validation import VALIDATOR

COLUMNS = (
    "setting", "method", "trial", "value", "best", "seconds", "cost", "status", "params", "winner", "protocol",
    "backbone", "dataset", "shots", "share", "segments", "key", "criterion",
)  # fmt: skip
"""Of a frame of trials, one row a trial, in the order in which they ended:

* ``setting`` names method, backbone, dataset, shots and protocol (:func:`setting_name`), whose labels have columns of
  their own;
* ``trial`` is the number within the setting, from 1 on, which is the default configuration;
* ``value`` is the validation score that ``criterion`` names, ``accuracy`` or a validator; larger is better, NaN where
  the trial failed; ``best`` is the largest so far of those that were trained to their end;
* ``seconds`` are the trial's, ``cost`` the device-seconds spent in the setting so far, this trial's among them;
* ``status`` is ``done``, ``stopped`` (early) or ``failed``;
* ``params`` is canonical JSON of what was searched;
* ``winner`` says whether the setting's cells took their values from it;
* ``share`` is the part of a training that it is: 1, or that of a generation of a population;
* ``segments`` is canonical JSON of how a training came to its values (:mod:`tlbench.core.segments`), else empty;
* ``key`` is the setting's own, which the cells that took their values from it name.
"""
_NUMBERS = ("trial", "value", "best", "seconds", "cost", "share")


def empty_trials() -> pd.DataFrame:
    """Return a frame of no trials."""
    return pd.DataFrame({name: pd.Series(dtype="float64" if name in _NUMBERS else "object") for name in COLUMNS})


def setting_name(protocol: str, method: str, backbone: str, dataset: str, shots: str) -> str:
    """Return the text that names a setting in a frame of trials."""
    return f"{method} · {backbone} · {dataset}, {shots} · {protocol}"


def split_trials(runs: Iterable[StoredRun]) -> tuple[list[StoredRun], list[StoredRun]]:
    """Return the runs of cells, and those of trials; the runs under which trials stand are neither."""
    known = [run for run in runs if layout.SEARCH_TAG not in run.tags]
    tried = [run for run in known if layout.TRIAL_TAG in run.tags]
    return [run for run in known if layout.TRIAL_TAG not in run.tags], tried


def trials_of_runs(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """Return one row a trial, in the order in which they ended."""
    best: dict[tuple[str, str], float] = {}
    spent: dict[tuple[str, str], float] = {}
    rows = []
    for run in sorted(runs, key=lambda run: (run.ended, int(run.tags[layout.TRIAL_TAG]))):
        said, took = run.params, run.metrics
        names = [said.get(key, "") for key in ("protocol", "method_label", "backbone_label", "dataset", "shots")]
        name = setting_name(*names)
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
    return pd.DataFrame(rows, columns=list(COLUMNS)) if rows else empty_trials()


def with_labels(trials: pd.DataFrame, labels: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
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
    return told.assign(setting=[setting_name(*each) for each in names])
