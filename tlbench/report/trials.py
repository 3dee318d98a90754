"""What MLflow holds of a search: its trials, as one data frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

import pandas as pd

from tlbench.core.segments import GENERATIONS, Segment, Segments
from tlbench.report.labels import Labels
from tlbench.store.mlflow.stored_experiment import StoredRun
from tlbench.suite.search_validation import VALIDATOR

MARKS = ("method_source", "protocol_source")
COLUMNS = (
    "setting", "method", "trial", "value", "best", "seconds", "cost", "status", "params", "winner", "protocol",
    "backbone", "dataset", "shots", "seed", "share", "folds", "segments", "key", "criterion", "scores", "name",
    *MARKS, "spent", "device",
)  # fmt: skip
"""Of a frame of trials, one row a trial, in the order in which they ended:

* ``setting`` names method, backbone, dataset, shots and protocol (:func:`setting_name`), whose labels have columns of
  their own;
* ``seed`` is that of the search, of which a setting has one a seed; all of a search have the same ``key``;
* ``trial`` is the number within the search, from 1 on, which is the default configuration;
* ``value`` is the validation score that ``criterion`` names, ``accuracy`` or a validator; larger is better, NaN where
  the trial failed; ``best`` is the largest so far of those that were trained to their end;
* ``seconds`` are the trial's by the clock, ``cost`` the device-seconds spent in the search so far, this trial's among
  them;
* ``status`` is ``done``, ``stopped`` (early) or ``failed``;
* ``params`` is canonical JSON of what was searched;
* ``winner`` says whether the search's cell took its values from it;
* ``share`` is the part of a training that it is: 1, or that of a generation of a population; ``folds`` is the number
  of trainings where it was validated in folds, else 1;
* ``segments`` is canonical JSON of how a training came to its values (:mod:`tlbench.core.segments`), else empty;
* ``key`` is the search's own, which the cell that took its values from it names;
* ``scores`` are all validation scores by name;
* ``name`` is the method's, without its parameters, and the next two are the marks of the code behind the trial;
* ``spent`` are the trial's own device-seconds, of GPUs or CPUs as ``device`` says (``GPU``, ``CPU``).
"""
_VALIDATION = "validation/"
_NUMBERS = ("trial", "value", "best", "seed", "seconds", "spent", "cost", "share", "folds")


def empty_trials() -> pd.DataFrame:
    """Return a frame of no trials."""
    return pd.DataFrame({name: pd.Series(dtype="float64" if name in _NUMBERS else "object") for name in COLUMNS})


def setting_name(protocol: str, method: str, backbone: str, dataset: str, shots: str) -> str:
    """Return the text that names a setting in a frame of trials."""
    return f"{method} · {backbone} · {dataset}, {shots} · {protocol}"


def split_trials(runs: Iterable[StoredRun]) -> tuple[list[StoredRun], list[StoredRun]]:
    """Return the runs of cells, and those of trials; the parents of trials are neither."""
    known = [run for run in runs if not run.is_search]
    return [run for run in known if not run.is_trial], [run for run in known if run.is_trial]


def trials_of_runs(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """Return one row a trial, in the order in which they ended."""
    best: dict[tuple[str, ...], float] = {}
    cost: dict[tuple[str, ...], float] = {}
    rows = []
    for run in sorted(runs, key=lambda run: (run.ended, run.trial_number)):
        names = ("protocol", "method_label", "backbone_label", "dataset", "shots")
        protocol, method, backbone, dataset, shots = (run.params.get(name, "") for name in names)
        setting = setting_name(protocol, method, backbone, dataset, shots)
        same = setting, run.options, run.search_key
        criterion = json.loads(run.options).get(VALIDATOR, "accuracy")
        value = run.metrics.get(f"{_VALIDATION}{criterion}", math.nan)
        status = "failed" if run.status == "FAILED" else "stopped" if run.was_stopped else "done"
        if status == "done" and math.isfinite(value):
            best[same] = max(value, best.get(same, -math.inf))
        seconds = run.metrics.get("cost/seconds", 0.0)
        gpus = run.metrics.get("cost/gpus")
        # What trials were billed was not kept at first: then it is the devices held, times wall seconds.
        spent = run.metrics.get("cost/device_seconds", seconds * (gpus or run.metrics.get("cost/cpus") or 1.0))
        cost[same] = cost.get(same, 0.0) + spent
        segments = run.trial_segments
        rows.append(
            {
                "setting": setting,
                "method": method,
                "trial": run.trial_number,
                "value": value,
                "best": best.get(same, math.nan),
                "seconds": seconds,
                "cost": cost[same],
                "status": status,
                "params": run.trial_values,
                "winner": run.is_winner,
                "protocol": protocol,
                "backbone": backbone,
                "dataset": dataset,
                "shots": shots,
                "seed": int(run.params.get("seed", 0)),
                "share": 1 / len(GENERATIONS) if segments else 1.0,
                "folds": run.trial_folds,
                "segments": segments,
                "key": run.search_key,
                "criterion": criterion,
                "scores": {
                    name.removeprefix(_VALIDATION): score
                    for name, score in run.metrics.items()
                    if name.startswith(_VALIDATION)
                },
                "name": run.params.get("method", ""),
                **{mark: run.provenance.get(mark, "") for mark in MARKS},
                "spent": spent,
                "device": "GPU" if gpus else "CPU",
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)) if rows else empty_trials()


def with_labels(trials: pd.DataFrame, places: Mapping[str, tuple[str, str]], labels: Labels) -> pd.DataFrame:
    """Return trials under the names that tables give to their setting's cells.

    Args:
        trials: As they were stored.
        places: Names of protocol and dataset by the setting's key; where it is not there, the stored names stay.
        labels: Names of methods and backbones.
    """
    if trials.empty:
        return trials
    stored = zip(trials["key"], trials["protocol"], trials["dataset"], strict=True)
    found = [places.get(key, (protocol, dataset)) for key, protocol, dataset in stored]
    renamed = trials.assign(
        protocol=[protocol for protocol, _ in found],
        dataset=[dataset for _, dataset in found],
        method=[labels.methods.get(label, label) for label in trials["method"]],
        backbone=[labels.backbones.get(label, label) for label in trials["backbone"]],
    )
    names = zip(*(renamed[name] for name in ("protocol", "method", "backbone", "dataset", "shots")), strict=True)
    return renamed.assign(setting=[setting_name(*each) for each in names])


def is_default(trials: pd.DataFrame) -> pd.Series:
    """Say of each trial whether it has the default configuration; of a population's members the one that came farthest.

    Args:
        trials: All trials of some settings; see :data:`tlbench.report.trials.COLUMNS`.
    """
    settings = trials["key"] + trials["setting"]
    starts = trials[trials["trial"].eq(1)].set_index(settings[trials["trial"].eq(1)])["params"]
    first = settings.map(starts[~starts.index.duplicated()])
    throughout = trials["segments"].map(lambda text: len(segments_of(text)) == 1) & trials["params"].eq(first)
    farthest = trials["trial"].where(throughout).groupby(settings).transform("max")
    return trials["trial"].eq(farthest.fillna(1))


def segments_of(text: str) -> Segments:
    """Return the segments of a trial; none where it has none, or where the text was too long for the store and cut."""
    try:
        return tuple(Segment(*each) for each in json.loads(text or "[]"))
    except ValueError:
        return ()
