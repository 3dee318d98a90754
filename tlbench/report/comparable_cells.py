"""Cells that can be compared: labels that mean one thing, and one cell for each setting and seed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import pandas as pd

from tlbench.core.planned_setting import PlannedSetting
from tlbench.plugins.metrics import METRIC, USUAL, metric_declaration
from tlbench.report.environments import Environment
from tlbench.report.labels import TRANSDUCTIVE, Labels, labels_of
from tlbench.report.shared_trainings import SharedTraining, shared_trainings
from tlbench.stats.finite_test_set import UnitScores, error_of_test_sets
from tlbench.stats.intervals import Estimate, nested_mean

Stratum = tuple[str, str]
"""A dataset and a number of shots."""
Scores = dict[Stratum, dict[int, float]]
Key = TypeVar("Key")
_SETTING = ["protocol", "method_row", "backbone_row", "dataset_row", "shots"]
_EXAMPLES = 3
_CHOICE = "test/accuracy_by/"


@dataclass(frozen=True, slots=True)
class ComparableCell:
    """A finished cell as the tables need it; None where nothing was stored.

    Attributes:
        protocol: Label: the name, the options in which it differs from the suite's other uses of it, and whether it
            is transductive.
        protocol_name: The protocol's file name.
        method: Its name on the page (:mod:`tlbench.report.labels`); likewise ``backbone`` and ``dataset``.
        method_name: The method's file name.
        accuracy: Test score by the metric, larger is better: a fraction of 1, or minus it.
        reach: Half-width of the interval over test episodes.
        nll: Nats.
        seconds: Wall seconds of the cell, as measured.
        peak_memory: Bytes.
        transductive: Whether the answer to one test example may draw on the others of its episode.
        oracle: Whether the method saw labels that the protocol keeps from all others: an upper bound.
        validator: What chose the model that was scored, where a protocol lets several choose; else empty.
        choices: Test accuracy of the model that each of them chose, by name, the oracle's among them.
        total: Parameters of the whole predictor.
        cell: The cell's id.
        run_id: MLflow's run.
        options: Options of the protocol, as canonical JSON.
        environment: What it was computed with.
        device_seconds: What the cell is billed: CPU-seconds, or GPU-seconds where ``gpus`` is not 0.
        embedding_seconds: The part of it that is for frozen features.
        gpus: GPUs held.
        shared: Trainings whose weights it started or learnt from.
        metric: Name of the metric that the suite chose.
        pretrain_run: Name of the weights that a pre-training run made for it; empty for random and given weights.
        method_label: The method in full; likewise ``backbone_label`` and ``dataset_label``.
    """

    protocol: str
    protocol_name: str
    method: str
    method_name: str
    backbone: str
    dataset: str
    shots: str
    seed: int
    accuracy: float
    reach: float | None = None
    macro_f1: float | None = None
    nll: float | None = None
    ece: float | None = None
    seconds: float | None = None
    trainable: float | None = None
    stored_bytes: float | None = None
    peak_memory: float | None = None
    transductive: bool = False
    oracle: bool = False
    validator: str = ""
    choices: Mapping[str, float] = field(default_factory=dict)
    total: float | None = None
    cell: str = ""
    run_id: str = ""
    protocol_version: str = ""
    options: str = "{}"
    environment: Environment = field(default_factory=Environment)
    device_seconds: float | None = None
    embedding_seconds: float | None = None
    gpus: float | None = None
    shared: tuple[SharedTraining, ...] = ()
    pretrain_run: str = ""
    metric: str = USUAL
    method_label: str = ""
    backbone_label: str = ""
    dataset_label: str = ""


_COLUMNS = (
    "protocol", "protocol_name", "method_row", "method", "backbone_row", "dataset_row", "shots", "seed",
    "score", "test/accuracy_ci95", "test/macro_f1", "test/nll", "test/ece", "cost/seconds",
    "footprint/trainable", "footprint/stored_bytes", "cost/peak_memory", "transductive",
    "oracle", "validator", "choices", "footprint/total", "cell", "run_id", "protocol_version", "options",
    "environment", "cost/device_seconds", "cost/embedding_seconds", "cost/gpus", "shared", "pretrain_run", "metric",
    "method_label", "backbone_label", "dataset_in_full",
)  # fmt: skip  # in the order of ComparableCell's fields


def comparable_cells(
    done: pd.DataFrame, planned: Sequence[PlannedSetting] | None = None
) -> tuple[tuple[ComparableCell, ...], tuple[str, ...]]:
    """Return the cells that the tables are made of, and what was done to them.

    * A protocol that was run with several options is several: ``episodic (ways=5)`` and ``episodic (ways=20)``.
    * What is transductive is told apart, as if it were another protocol: ``episodic, transductive``.
    * Methods, backbones and datasets have their short names (:mod:`tlbench.report.labels`).
    * Datasets that share a name but not their content are told apart by their fingerprint.
    * When a setting was run again after its parameters or its protocol changed, only the newest version counts.
    * A cell without a finite test score by its metric counts as missing.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
        planned: :attr:`tlbench.report.results.Results.planned_settings`; what is planned, too, is told apart by labels.

    Returns:
        The cells, where setting and seed name one, and notes for the reader.
    """
    notes: list[str] = []
    scored = _with_scores(done)
    scored = scored[scored["score"].map(math.isfinite).astype(bool)]
    if len(scored) < len(done):
        notes.append(f"finished cells without a finite test score, counted as missing: {len(done) - len(scored)}")
    if scored.empty:
        return (), tuple(notes)
    scored["protocol_name"] = scored["protocol"]
    scored["validator"] = [json.loads(text).get("validator", "") for text in scored["options"]]
    scored["choices"] = _choices(scored)
    scored["environment"] = _environments(scored)
    for name in ("cost/device_seconds", "cost/embedding_seconds", "cost/gpus"):
        scored[name] = scored.get(name, math.nan)  # snapshots of earlier versions lack the columns
    scored = scored.assign(**{name: _texts(scored, name) for name in ("backbone_group", "pretrain_run")})
    labels = labels_of(done, planned)
    if labels.ambiguous:
        notes.append(
            "names that stand for several contents are told apart by fingerprint: " + ", ".join(labels.ambiguous)
        )
    scored = _labelled(scored, labels)
    newest = _apart(_newest(scored, notes))
    told = newest.get("shared", [""] * len(newest))
    newest["shared"] = pd.Series(shared_trainings(map(str, told)), index=newest.index, dtype=object)
    columns = [newest[name].tolist() for name in _COLUMNS]
    return tuple(ComparableCell(*map(_known, row)) for row in zip(*columns, strict=True)), tuple(notes)


def by_shots(shots: str) -> float:
    """Sort key of a number of shots: ``full`` comes last."""
    return math.inf if shots == "full" else float(shots)


def grouped(cells: Iterable[ComparableCell], key: Callable[[ComparableCell], Key]) -> dict[Key, list[ComparableCell]]:
    """Return the cells by a key, in the order in which the keys come."""
    groups: dict[Key, list[ComparableCell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return groups


def scores(cells: Iterable[ComparableCell]) -> Scores:
    """Return the accuracies of one method on one backbone, by dataset and shots, by seed."""
    found: Scores = {}
    for cell in cells:
        found.setdefault((cell.dataset, cell.shots), {})[cell.seed] = cell.accuracy
    return found


def accuracy(found: Scores, units: UnitScores = MappingProxyType({}), metric: str = USUAL) -> Estimate:
    """Return the mean score with an interval that stays possible.

    Args:
        found: Score by seed, by (dataset, shots).
        units: Scores of test examples, so that the interval contains the error of the finite test sets.
        metric: Name of the metric.
    """
    estimate, declared = nested_mean(found, tests=error_of_test_sets(units, found)), metric_declaration(metric)
    if declared.constants.UNIT != "percent":
        return estimate
    return estimate.clipped(0.0, 1.0) if declared.sign > 0 else estimate.clipped(-1.0, 0.0)


def bounds(cells: Iterable[ComparableCell]) -> set[str]:
    """Return the methods that saw labels which all others are denied."""
    return {cell.method for cell in cells if cell.oracle}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _labelled(cells: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    protocols = zip(cells["protocol"], cells["options"], strict=True)
    datasets = list(zip(cells["dataset"], cells["dataset_fingerprint"], strict=True))
    return cells.assign(
        protocol=[labels.protocols[pair] for pair in protocols],
        method_row=[labels.methods[label] for label in cells["method_label"]],
        backbone_row=[labels.backbones[label] for label in cells["backbone_label"]],
        dataset_row=[labels.datasets[pair] for pair in datasets],
        dataset_in_full=[labels.datasets_in_full[pair] for pair in datasets],
    )


def _with_scores(done: pd.DataFrame) -> pd.DataFrame:
    """Return cells with the name of their metric, and their test score by it, larger is better."""
    named = {text: str(json.loads(text).get(METRIC, USUAL)) for text in set(done["options"])}
    metrics = [named[text] for text in done["options"]]
    signs = {name: metric_declaration(name).sign for name in set(metrics)}
    values = {name: done.get(f"test/{name}", pd.Series(math.nan, index=done.index)).tolist() for name in signs}
    scores = [signs[name] * values[name][position] for position, name in enumerate(metrics)]
    return done.assign(metric=metrics, score=pd.Series(scores, index=done.index, dtype=float))


def _choices(cells: pd.DataFrame) -> pd.Series:
    """Return the test accuracies by what chose the model, cell by cell."""
    names = [str(name) for name in cells if str(name).startswith(_CHOICE)]
    found = [
        {name.removeprefix(_CHOICE): value for name, value in zip(names, values, strict=True) if math.isfinite(value)}
        for values in cells[names].to_numpy(dtype=float).tolist()
    ]
    return pd.Series(found, index=cells.index, dtype=object)


def _environments(cells: pd.DataFrame) -> pd.Series:
    """Return what each cell was computed with; snapshots of earlier versions lack the columns."""
    unknown = [""] * len(cells)
    facts = [cells.get(f"provenance/{fact}", unknown) for fact in Environment._fields]
    shared: dict[Environment, Environment] = {}
    rows = (Environment(*map(str, row)) for row in zip(*facts, strict=True))
    return pd.Series([shared.setdefault(row, row) for row in rows], index=cells.index, dtype=object)


def _texts(cells: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of texts; snapshots of earlier versions lack it."""
    return cells[name].fillna("").astype(str) if name in cells else pd.Series("", index=cells.index)


def _apart(cells: pd.DataFrame) -> pd.DataFrame:
    told = cells["protocol"] + TRANSDUCTIVE
    return cells.assign(protocol=cells["protocol"].mask(cells["transductive"].astype(bool), told))


def _newest(cells: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    newest_first = cells.sort_values(["ended", "run_id"], ascending=[False, True])
    group = newest_first["backbone_group"]  # pre-training runs that go with the seeds are no versions of each other
    backbone = group.where(group != "", newest_first["backbone_key"])
    tuned = newest_first["method_label"].str.endswith("tuned)")  # each seed has the parameters that its search found
    recipe = newest_first["protocol_version"] + "|" + backbone + "|" + newest_first["params"].mask(tuned, "")
    current = recipe == recipe.groupby([newest_first[key] for key in _SETTING]).transform("first")
    kept = newest_first[current].drop_duplicates([*_SETTING, "seed"])
    dropped = cells.loc[cells.index.difference(kept.index)]
    if len(dropped):
        named = dropped[_SETTING].drop_duplicates()
        shown = "; ".join(" | ".join(map(str, row)) for row in named.head(_EXAMPLES).itertuples(index=False))
        more = ", ..." if len(named) > _EXAMPLES else ""
        notes.append(f"results of earlier parameters or code, left out: {len(dropped)} ({shown}{more})")
    return kept.sort_index()
