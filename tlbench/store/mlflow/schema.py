"""How a record reads in MLflow: names and values of its parameters, tags and metrics. Imports no mlflow."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, NamedTuple

from tlbench.core.description import Execution
from tlbench.core.hashing import canonical
from tlbench.core.not_applicable import NotApplicable
from tlbench.core.planned_setting import PlannedSetting
from tlbench.core.record import STOPPED, Record
from tlbench.store.mlflow.planned_cells import plan_tags

CELL_TAG = "tlbench.cell"
DIGEST_TAG = "tlbench.digest"
STATUS_TAG = "tlbench.status"
ERROR_TAG = "tlbench.error"
TRANSDUCTIVE_TAG = "tlbench.transductive"
ORACLE_TAG = "tlbench.oracle"
SHARED_TAG = "tlbench.shared"  # trainings whose weights several cells share, and what they took
SETTING_TAG = "tlbench.setting"
TRIAL_TAG = "tlbench.trial"
VALUES_TAG = "tlbench.values"
SEGMENTS_TAG = "tlbench.legs"  # the segments of a training whose values changed; named as first stored
PARENT_TAG = "tlbench.parent"  # the trial that one goes on from
FOLDS_TAG = "tlbench.folds"  # in how many folds a trial was validated
WINNER_TAG = "tlbench.winner"
STOPPED_TAG = "tlbench.stopped"
SEARCH_TAG = "tlbench.search"  # of the run under which a setting's trials stand
WRITER_TAG = "tlbench.sync"
BASELINE_TAG = "tlbench.baseline"
SUITE_TAG = "tlbench.suite"
PLAN_TAG = "tlbench.plan"
PROVENANCE_PREFIX = "tlbench.provenance."
OPTION_PREFIX = "option."
PARAM_PREFIX = "param."
CURVE_PREFIX = "curve/"
ARTIFACT = "record.json"

# MLflow's own limits.
KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
EXPERIMENT_TAG_LENGTH = 20_000
_FORBIDDEN = re.compile(r"[^\w\-. :/]", re.ASCII)

PARAMS = (
    "protocol", "protocol_version", "method", "method_label", "backbone", "backbone_label", "backbone_key", "weights",
    "dataset", "dataset_fingerprint", "shots", "seed",
)  # fmt: skip
GROUP_PARAM = "backbone_group"


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    step: int


def times(record: Record) -> tuple[int, int]:
    """Return start and end of the cell in milliseconds since the epoch."""
    return round(1000 * record.cost.started), round(1000 * (record.cost.started + record.cost.seconds))


def tags(record: Record) -> dict[str, str]:
    """Return the tags of a record's run; one each says that it is transductive, or an oracle's, where it is."""
    found = {CELL_TAG: record.id, DIGEST_TAG: record.digest, STATUS_TAG: record.status}
    if record.error is not None:
        found[ERROR_TAG] = f"{record.error.get('type', 'error')}: {record.error.get('message', '')}"
    if record.outcome is not None and record.outcome.transductive:
        found[TRANSDUCTIVE_TAG] = "true"
    if record.outcome is not None and record.outcome.oracle:
        found[ORACLE_TAG] = "true"
    if record.cost.shared:
        found[SHARED_TAG] = canonical([each.model_dump(mode="json") for each in record.cost.shared])
    trial = record.cell.trial or record.cell.winner
    if trial is not None:
        found |= {SETTING_TAG: trial.setting, VALUES_TAG: canonical(trial.values)}
        found |= {SEGMENTS_TAG: canonical(trial.segments)} if trial.segments else {}
        found |= {PARENT_TAG: str(trial.parent)} if trial.parent is not None else {}
        found |= {FOLDS_TAG: str(trial.folds)} if trial.folds > 1 else {}
    if record.cell.trial is not None:
        found[TRIAL_TAG] = str(record.cell.trial.number)
    if record.outcome is not None and STOPPED in record.outcome.selected:
        found[STOPPED_TAG] = str(record.outcome.selected[STOPPED])
    found |= _under(PROVENANCE_PREFIX, record.provenance)
    return {name: fit(value, TAG_LENGTH) for name, value in found.items()}


def params(record: Record) -> dict[str, str]:
    """Return the parameters of a record's run; precision, workers and the like where they are not the defaults."""
    cell = record.cell
    found = {name: text(getattr(cell, name)) for name in PARAMS}
    found |= {name: text(value) for name, value in Execution(cell.precision, cell.workers).key.items()}
    found |= {GROUP_PARAM: cell.backbone_group} if cell.backbone_group else {}
    found |= _under(OPTION_PREFIX, cell.options) | _under(PARAM_PREFIX, cell.params)
    return {name: fit(value, PARAM_LENGTH) for name, value in found.items()}


def metrics(record: Record) -> list[Point]:
    """Return the metrics of a record's run; scores and costs at step 0, curves at theirs."""
    cost = record.cost.model_dump(exclude={"started", "shared"}, exclude_none=True)
    points = [Point(key(f"cost/{name}"), value, 0) for name, value in cost.items()]
    if (outcome := record.outcome) is not None:
        singles = {f"test/{name}": value for name, value in outcome.scores.items()}
        singles |= {f"validation/{name}": value for name, value in outcome.validation.items()}
        singles |= {"tests": outcome.tests, "group": outcome.group}
        if outcome.footprint is not None:
            singles |= {f"footprint/{name}": value for name, value in outcome.footprint.model_dump().items()}
        points += [Point(key(name), value, 0) for name, value in singles.items()]
        for name, curve in outcome.curves.items():
            points += [Point(key(CURVE_PREFIX + name), value, step) for step, value in dict(curve).items()]
    # MLflow would turn infinity into 1.8e308, and NaN reads as 0 in its tables.
    return [point for point in points if math.isfinite(point.value)]


def experiment_tags(
    baseline: str,
    suite_text: str,
    cells: int,
    not_applicable: Sequence[NotApplicable] = (),
    planned: Sequence[PlannedSetting] | None = None,
) -> dict[str, str]:
    """Return the tags of a suite's experiment.

    Args:
        baseline: Label of the baseline, or empty.
        suite_text: The suite file; cut where it is longer than MLflow takes.
        cells: Number of cells of the plan.
        not_applicable: What the plan leaves out; where it is too long for MLflow, the last entries become one.
        planned: The settings of these cells; None stores none.
    """
    return {
        BASELINE_TAG: fit(baseline, EXPERIMENT_TAG_LENGTH),
        SUITE_TAG: fit(suite_text, EXPERIMENT_TAG_LENGTH),
        PLAN_TAG: _plan(cells, not_applicable),
        **({} if planned is None else plan_tags([*map(_stored_setting, planned)], EXPERIMENT_TAG_LENGTH)),
    }


def json_under(prefix: str, params: Mapping[str, str]) -> str:
    """Return the parameters of a run that stand under a prefix as canonical JSON without it, every value a text."""
    return _json_under(prefix, tuple([pair for pair in params.items() if pair[0].startswith(prefix)]))


@lru_cache(10_000)
def _json_under(prefix: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """Return pairs as canonical JSON, without the prefix; most runs share theirs with many others."""
    return canonical({key.removeprefix(prefix): value for key, value in pairs})


def chunks(points: Sequence[Point], named: Mapping[str, str]) -> Iterator[tuple[Sequence[Point], dict[str, str]]]:
    """Deal metrics and parameters out in portions of at most 800 and 100, which one ``log_batch`` takes."""
    pairs = list(named.items())
    for number in range(max(-(-len(points) // 800), -(-len(pairs) // 100))):
        yield points[800 * number : 800 * (number + 1)], dict(pairs[100 * number : 100 * (number + 1)])


def text(value: Any) -> str:
    """Return a value as text: strings as they are, anything else as canonical JSON."""
    if isinstance(value, str):
        return value
    try:
        return canonical(value)
    except ValueError:  # NaN or infinity inside
        return json.dumps(value, sort_keys=True)


def fit(value: str, limit: int) -> str:
    """Return a text that keeps to a limit: a longer one is cut and ends in its hash, so that two never become one."""
    if len(value) <= limit:
        return value
    mark = f" ... [cut; sha256 {_hash(value)}]"
    return value[: limit - len(mark)] + mark


def key(name: str) -> str:
    """Return a name as a key that MLflow takes: ``_`` for what it forbids, and a hash to tell such names apart."""
    clean = _FORBIDDEN.sub("_", name)
    head, slash, tail = clean.partition("/")
    if slash and posixpath.normpath(clean) != clean:
        clean = f"{head}/{tail.replace('/', '_')}"
    if posixpath.normpath(clean) != clean or clean.startswith((".", "/")):
        clean = "_" + clean.replace("/", "_")
    if clean == name and len(name) <= KEY_LENGTH:
        return name
    return f"{clean[: KEY_LENGTH - 9]}-{_hash(name)[:8]}"


def _under(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    return {key(f"{prefix}{name}"): text(value) for name, value in values.items()}


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _stored_setting(setting: PlannedSetting) -> PlannedSetting:
    """Return a setting in the words that the runs of its cells have."""
    options = _under(OPTION_PREFIX, json.loads(setting.options))
    return replace(
        setting,
        options=json_under(OPTION_PREFIX, {name: fit(value, PARAM_LENGTH) for name, value in options.items()}),
        method=fit(setting.method, PARAM_LENGTH),
        backbone=fit(setting.backbone, PARAM_LENGTH),
        dataset=fit(setting.dataset, PARAM_LENGTH),
        tuned_from=fit(setting.tuned_from, PARAM_LENGTH),
    )


def _plan(cells: int, not_applicable: Sequence[NotApplicable]) -> str:
    """Return the number of cells and what is left out as JSON, as much of it as fits."""
    named = list(not_applicable)
    while True:
        unnamed = sum(each.count for each in not_applicable[len(named) :])
        more = [NotApplicable(unnamed, "further combinations", "see the suite")] if unnamed else []
        plan = canonical({"cells": cells, "not_applicable": [asdict(each) for each in (*named, *more)]})
        if len(plan) <= EXPERIMENT_TAG_LENGTH:
            return plan
        del named[-max(1, len(named) // 10) :]
