"""What MLflow holds of a suite, as one data frame: a row is a finished cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tlbench.core.description import setting_label
from tlbench.core.errors import UserError
from tlbench.core.info import Shots
from tlbench.core.not_applicable import NotApplicable
from tlbench.core.planned_setting import PlannedSetting, merge_settings
from tlbench.report.environments import Environment
from tlbench.report.trials import empty_trials, split_trials, trials_of_runs
from tlbench.report.untuned_cells import mark_kept, split_untuned
from tlbench.store.addresses import for_pages, without_credentials
from tlbench.store.mlflow.readers import open_reader
from tlbench.store.mlflow.record_artifact import RecordDetails
from tlbench.store.mlflow.schema import PARAMS
from tlbench.store.mlflow.stored_experiment import StoredExperiment, StoredRun

TEXTS = tuple(name for name in PARAMS if name != "seed")
NUMBERS = (
    "test/accuracy", "test/accuracy_ci95", "test/macro_f1", "test/nll", "test/ece", "validation/accuracy",
    "cost/device_seconds", "cost/embedding_seconds", "cost/examples_embedded", "cost/gpus", "cost/seconds",
    "cost/train_seconds", "cost/peak_memory", "footprint/trainable", "footprint/total", "footprint/stored_bytes",
)  # fmt: skip
SOURCES = ("method_source", "protocol_source")
ENVIRONMENT = tuple(f"provenance/{fact}" for fact in Environment._fields)
COLUMNS = (
    "run_id", "cell", "digest", "ended", *TEXTS, "seed", "options", "params", "transductive", "oracle", "setting",
    "backbone_group", "pretrain_run", "shared", *SOURCES, *ENVIRONMENT, *NUMBERS,
)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A cell that failed and has no result; ``traceback`` is empty where none was stored."""

    cell: str
    what: str
    error: str
    traceback: str = ""


@dataclass(frozen=True)
class Results:
    """Everything that a report is made of.

    Attributes:
        suite: Name.
        place: Where it was read from, as a page tells it.
        done: One row per cell with a result. Columns :data:`COLUMNS` and further scores and costs under their MLflow
            names; ``shots`` is text, ``ended`` is in seconds since the epoch, ``options`` and ``params`` are canonical
            JSON, so is ``shared`` (a list of :class:`tlbench.core.record.SharedCost`), ``transductive`` and ``oracle``
            are truth values, ``setting`` is the key of the search that found its parameters, or empty;
            ``backbone_group`` is what the keys of a backbone's pre-training runs share where these go with the seed, or
            empty; ``pretrain_run`` names the weights that such a run made, or is empty;
            :data:`ENVIRONMENT` is what the cell was computed with, empty where it is unknown.
        provenance: Values and the number of cells that have them, by name (``torch``, ``commit``, ...).
        failed: Cells that failed and have no result.
        planned: Cells that the suite asks for; None when no plan was stored.
        not_applicable: Combinations that the plan left out.
        baseline: The suite's baseline as written there; empty when none was stored.
        suite_text: The suite file; empty when none was stored.
        notes: What a reader must know of how the rows were chosen.
        experiment: MLflow's id of the suite's experiment.
        details: Curves and answers by cell, of the cells whose records were read whole.
        trials: What a search tried, one row a trial (see :mod:`tlbench.report.trials`).
        untuned: Cells with the default settings that tuned ones are held against, which are no rows
            (:func:`tlbench.report.untuned_cells.split_untuned`).
        unread: Runs whose records were left unread, as too many: ``details`` lacks them.
        planned_settings: The settings of the cells that the suite asks for, with their seeds; None for what was stored
            before they were.
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
    experiment: str = ""
    details: Mapping[str, RecordDetails] = field(default_factory=dict)
    trials: pd.DataFrame = field(default_factory=empty_trials)
    unread: int = 0
    planned_settings: tuple[PlannedSetting, ...] | None = None
    untuned: pd.DataFrame = field(default_factory=pd.DataFrame)


def load(suite: str, uri: str) -> Results:
    """Read a suite's results from MLflow.

    Args:
        suite: The suite's name, which is the experiment's name.
        uri: ``sqlite:///...`` or ``postgresql://...``, read by SQL, or the ``http(s)://`` address of a tracking server.

    Raises:
        UserError: The store cannot be reached or read, or has no such suite.
    """
    with open_reader(uri) as reader:
        return tidy(suite, for_pages(uri), reader.read(suite))


def load_several(names: Sequence[str], uri: str) -> Results:
    """Read several suites' results as those of one.

    Args:
        names: Their names; where there are none, every suite of the store that has results.
        uri: See :func:`load`.

    Raises:
        UserError: The store cannot be reached or read, has no such suite, or no results at all.
    """
    if names:
        return join([load(name, uri) for name in names])
    found = [results for results in (load(name, uri) for name in suites(uri)) if len(results.done)]
    if not found:
        raise UserError(f"{without_credentials(uri)}: no suite has results there", "`tlbench run` makes them")
    return join(found)


def suites(uri: str) -> list[str]:
    """Return the names of all suites of a store.

    Args:
        uri: See :func:`load`.

    Raises:
        UserError: The store cannot be reached or read.
    """
    with open_reader(uri) as reader:
        return reader.suites()


def tidy(suite: str, place: str, stored: StoredExperiment) -> Results:
    """Turn what MLflow stored into results: one row a finished cell, failures apart."""
    notes: list[str] = []
    runs, trials = split_trials(_called_as_planned(stored.runs, stored.plan.settings))
    finished = _first_of_each_cell(_complete(runs, notes), notes)
    rows = [_row(run) for run in finished]
    done = pd.DataFrame(rows, columns=_columns(rows))
    done[list(NUMBERS)] = done[list(NUMBERS)].astype("float64")
    plan = stored.plan
    tried = trials_of_runs(trials)
    done, untuned = split_untuned(done, plan.settings, tried)
    return Results(
        suite=suite,
        place=place,
        done=done,
        provenance=_provenance(finished),
        failed=_failures(runs, {run.cell for run in finished}),
        planned=plan.cells,
        not_applicable=plan.not_applicable,
        baseline=stored.baseline,
        suite_text=stored.suite_text,
        notes=tuple(notes),
        experiment=stored.id,
        details={run.cell: run.details for run in finished if run.details is not None},
        trials=mark_kept(tried, plan.settings),
        unread=stored.unread,
        planned_settings=plan.settings,
        untuned=untuned,
    )


def join(several: Sequence[Results]) -> Results:
    """Return several suites' results as those of one, named ``one+other``.

    A cell is named by what decides its result, so one that two suites share counts once; provenance counts it in each.
    The baseline is the one that all suites name which name any.

    Args:
        several: At least one.
    """
    if len(several) == 1:
        return several[0]
    notes = [f"{each.suite}: {note}" for each in several for note in each.notes]
    stacked = pd.concat([each.done for each in several], ignore_index=True)
    done = stacked.drop_duplicates(["cell", "method_label"], ignore_index=True)
    differing = int((stacked[["cell", "digest"]].drop_duplicates()["cell"].value_counts() > 1).sum())
    if differing:
        notes.append(f"cells with another result in a later suite, of which that of the first counts: {differing}")
    baselines = list(dict.fromkeys(each.baseline for each in several if each.baseline))
    if len(baselines) > 1:
        notes.append(f"the suites name several baselines, so there is none: {', '.join(baselines)}")
    have = set(done["cell"])
    failed = {each.cell: each for results in several for each in results.failed if each.cell not in have}
    shared = sum(len(each.done) + len(each.failed) for each in several) - len(done) - len(failed)
    plans = [each.planned for each in several if each.planned is not None]
    settings = _planned(several)
    asked = None if settings is None else sum(len(each.seeds) for each in settings)
    return Results(
        suite="+".join(each.suite for each in several),
        place=", ".join(dict.fromkeys(each.place for each in several)),
        done=done,
        provenance=_added(each.provenance for each in several),
        failed=tuple(failed.values()),
        planned=asked if asked is not None else sum(plans) - shared if len(plans) == len(several) else None,
        not_applicable=tuple(dict.fromkeys(each for results in several for each in results.not_applicable)),
        baseline=baselines[0] if len(baselines) == 1 else "",
        suite_text="---\n".join(each.suite_text for each in several if each.suite_text),
        notes=tuple(notes),
        details={cell: found for each in reversed(several) for cell, found in each.details.items()},
        trials=pd.concat([each.trials for each in several], ignore_index=True),
        unread=sum(each.unread for each in several),
        planned_settings=settings,
        untuned=pd.concat([each.untuned for each in several], ignore_index=True),
    )


def _planned(several: Sequence[Results]) -> tuple[PlannedSetting, ...] | None:
    """Return what several suites ask for, or None where it is not known of one of them."""
    plans = [each.planned_settings for each in several if each.planned_settings is not None]
    return merge_settings(setting for plan in plans for setting in plan) if len(plans) == len(several) else None


def _added(counts: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for each in counts:
        for key, values in each.items():
            total.setdefault(key, Counter()).update(values)
    return {key: dict(values) for key, values in sorted(total.items())}


def _complete(runs: Iterable[StoredRun], notes: list[str]) -> list[StoredRun]:
    """Keep finished runs with a digest: the last thing written before a run is finished."""
    finished = [run for run in runs if run.status == "FINISHED"]
    complete = [run for run in finished if run.is_complete]
    if len(complete) < len(finished):
        notes.append(
            f"finished runs left out because they are not tlbench's or lack a digest: {len(finished) - len(complete)}"
        )
    return complete


def _first_of_each_cell(runs: Iterable[StoredRun], notes: list[str]) -> list[StoredRun]:
    kept: dict[str, StoredRun] = {}
    conflicts = set()
    for run in sorted(runs, key=lambda run: run.id):
        first = kept.setdefault(run.cell, run)
        if first.digest != run.digest:
            conflicts.add(run.cell)
    if conflicts:
        notes.append(
            f"cells with several results that differ, of which the run with the smallest id counts: {len(conflicts)}, "
            f"e.g. {min(conflicts)}"
        )
    return list(kept.values())


def _called_as_planned(runs: Iterable[StoredRun], planned: Sequence[PlannedSetting] | None) -> list[StoredRun]:
    """Return runs whose datasets have the names that the suite gives them.

    A cell is done once. Its record has the name of the suite that ran it first, which may have found the same data in
    another folder.
    """
    known = {(each.dataset, each.fingerprint) for each in planned or ()}
    names = {fingerprint: name for name, fingerprint in sorted(known, reverse=True) if fingerprint}

    def called(run: StoredRun) -> StoredRun:
        name, fingerprint = (run.params.get(key, "") for key in ("dataset", "dataset_fingerprint"))
        if (name, fingerprint) in known or fingerprint not in names:
            return run
        return replace(run, params={**run.params, "dataset": names[fingerprint]})

    return [called(run) for run in runs]


def _row(run: StoredRun) -> dict[str, Any]:
    provenance = run.provenance
    return {
        "run_id": run.id,
        "cell": run.cell,
        "digest": run.digest,
        "ended": run.ended,
        **{key: run.params[key] for key in TEXTS},
        "seed": int(run.params["seed"]),
        "options": run.options,
        "params": run.method_params,
        "transductive": run.is_transductive,
        "oracle": run.is_oracle,
        "setting": run.search_key,
        "shared": run.shared,
        "backbone_group": run.backbone_group,
        "pretrain_run": run.pretrain_run,
        **{key: provenance.get(key, "") for key in SOURCES},
        **{column: provenance.get(fact, "") for column, fact in zip(ENVIRONMENT, Environment._fields, strict=True)},
        **run.metrics,
    }


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    further = sorted({key for row in rows for key in row}.difference(COLUMNS))
    return [*COLUMNS, *further]


def _provenance(runs: Iterable[StoredRun]) -> dict[str, dict[str, int]]:
    pairs = Counter(pair for run in runs for pair in run.provenance.items())
    counts: dict[str, dict[str, int]] = {}
    for (name, value), cells in sorted(pairs.items()):
        counts.setdefault(name, {})[value] = cells
    return counts


def _failures(runs: Iterable[StoredRun], done: set[str]) -> tuple[Failure, ...]:
    latest: dict[str, StoredRun] = {}
    for run in sorted(runs, key=lambda run: (run.ended, run.id)):
        if run.status == "FAILED" and run.cell and run.cell not in done:
            latest[run.cell] = run
    return tuple(
        Failure(
            cell,
            _label(run.params),
            run.error or "no message was stored",
            run.details.traceback if run.details is not None else "",
        )
        for cell, run in sorted(latest.items(), key=lambda item: _label(item[1].params))
    )


def _label(params: Mapping[str, str]) -> str:
    """Return a cell's protocol and label, as far as its parameters were stored."""
    protocol, method, backbone, dataset, shots, seed = (
        params.get(key, "?") for key in ("protocol", "method_label", "backbone_label", "dataset", "shots", "seed")
    )
    return f"{protocol} | {setting_label(method, backbone, dataset, _number(shots))} | seed {seed}"


def _number(shots: str) -> Shots:
    return int(shots) if shots.isdecimal() else "full"
