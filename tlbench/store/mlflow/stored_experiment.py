"""A suite's experiment as MLflow stores it, whichever way it was read: its plan, and its runs with named facts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean
from typing import cast

from tlbench.core.cell import artifact_name
from tlbench.core.description import Execution, PrecisionChoice
from tlbench.core.errors import UserError, nearest
from tlbench.core.not_applicable import NotApplicable
from tlbench.core.planned_setting import PlannedSetting
from tlbench.store.mlflow import schema
from tlbench.store.mlflow.planned_cells import read_plan_tags
from tlbench.store.mlflow.record_artifact import RecordDetails

STATUSES = ("FINISHED", "FAILED")
"""Of runs that ended, the only ones that are read."""
TAG_PREFIX = "tlbench."
_NEEDED = frozenset(schema.PARAMS)


@dataclass(slots=True)
class StoredRun:
    """One run: the tags that tlbench wrote, and the latest value of every metric that is no curve.

    Readers fill ``params``, ``tags`` and ``metrics`` as the store has them; whoever reads a run asks its properties.

    Attributes:
        id: MLflow's run id.
        status: ``FINISHED`` or ``FAILED``.
        ended: End, seconds since the epoch; 0 where the store has none.
        params: Parameters as text: those of :data:`tlbench.store.mlflow.schema.PARAMS`, options and parameters.
        tags: Tags whose key starts with ``tlbench.``.
        metrics: Latest values by MLflow's names (``test/accuracy``, ``cost/seconds``), NaN where the store says so.
        artifacts: Where its files are kept, as the store says it.
        details: What its record holds besides; None where it was not read.
    """

    id: str
    status: str
    ended: float
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: str = ""
    details: RecordDetails | None = None

    @property
    def is_search(self) -> bool:
        """Whether it is the parent under which MLflow's pages show the trials of a search."""
        return schema.SEARCH_TAG in self.tags

    @property
    def cell(self) -> str:
        """Id of the cell; empty for a run that is not tlbench's."""
        return self.tags.get(schema.CELL_TAG, "")

    @property
    def digest(self) -> str:
        """Of the record: the last thing that is written before a run is finished. Empty where it is not there."""
        return self.tags.get(schema.DIGEST_TAG, "")

    @property
    def error(self) -> str:
        """Type and message of the failure; empty where none was stored."""
        return self.tags.get(schema.ERROR_TAG, "")

    @property
    def is_transductive(self) -> bool:
        """Whether the answer to one test example may depend on others."""
        return schema.TRANSDUCTIVE_TAG in self.tags

    @property
    def is_oracle(self) -> bool:
        """Whether the method saw labels that its protocol keeps from all others."""
        return schema.ORACLE_TAG in self.tags

    @property
    def shared(self) -> str:
        """Trainings whose weights the cell shares with others, and what they took, as canonical JSON of a list."""
        return self.tags.get(schema.SHARED_TAG, "[]")

    @property
    def is_complete(self) -> bool:
        """Whether it has all that the run of a cell has."""
        return bool(self.digest and self.cell) and self.params.keys() >= _NEEDED

    @property
    def options(self) -> str:
        """The protocol's options as canonical JSON, every value a text."""
        return schema.json_under(schema.OPTION_PREFIX, self.params)

    @property
    def method_params(self) -> str:
        """The method's parameters as canonical JSON, every value a text."""
        return schema.json_under(schema.PARAM_PREFIX, self.params)

    @property
    def backbone_group(self) -> str:
        """What the keys of a backbone's pre-training runs have in common, where these go with the seed; else empty."""
        return self.params.get(schema.GROUP_PARAM, "")

    @property
    def pretrain_run(self) -> str:
        """Name of the weights that a pre-training run made for the cell; empty for random and given weights."""
        if self.params["weights"] != "pretrain":
            return ""
        precision, workers = self.params.get("precision", "auto"), self.params.get("workers", "1")
        return artifact_name(self.params["backbone_key"], Execution(cast(PrecisionChoice, precision), int(workers)))

    @property
    def provenance(self) -> dict[str, str]:
        """Versions, hardware, code marks and whatever else a record says of its origin, by name."""
        prefix = schema.PROVENANCE_PREFIX
        return {key.removeprefix(prefix): value for key, value in self.tags.items() if key.startswith(prefix)}

    @property
    def search_key(self) -> str:
        """Key of the search that it is a trial of, or that gave the cell its values; empty where there is none."""
        return self.tags.get(schema.SETTING_TAG, "")

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of a search."""
        return schema.TRIAL_TAG in self.tags

    @property
    def trial_number(self) -> int:
        """Number of the trial within its search, from 1 on; only of trials."""
        return int(self.tags[schema.TRIAL_TAG])

    @property
    def trial_values(self) -> str:
        """Values of the searched parameters as canonical JSON."""
        return self.tags.get(schema.VALUES_TAG, "{}")

    @property
    def trial_segments(self) -> str:
        """Segments of the trial's training as canonical JSON; empty where one configuration held throughout."""
        return self.tags.get(schema.SEGMENTS_TAG, "")

    @property
    def trial_folds(self) -> int:
        """Number of folds in which the trial was validated; 1 is on the part that was held out."""
        return int(self.tags.get(schema.FOLDS_TAG, "1"))

    @property
    def is_winner(self) -> bool:
        """Whether the cells of its setting took their values from this trial."""
        return schema.WINNER_TAG in self.tags

    @property
    def was_stopped(self) -> bool:
        """Whether a search ended the trial early."""
        return schema.STOPPED_TAG in self.tags


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """What the suite asked for when its results were written.

    Attributes:
        cells: Number of cells; None where no plan was stored.
        not_applicable: What was left out.
        settings: The settings of these cells; None where they were not stored.
    """

    cells: int | None = None
    not_applicable: tuple[NotApplicable, ...] = ()
    settings: tuple[PlannedSetting, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """An experiment as the store has it.

    Attributes:
        tags: Its own.
        runs: Those that ended.
        id: MLflow's name of it.
        unread: Runs of cells whose records were left unread, as too many.
    """

    tags: dict[str, str]
    runs: tuple[StoredRun, ...]
    id: str = ""
    unread: int = 0

    @property
    def baseline(self) -> str:
        """The suite's baseline as written there; empty where none was stored."""
        return self.tags.get(schema.BASELINE_TAG, "")

    @property
    def suite_text(self) -> str:
        """The suite file; empty where it was not stored."""
        return self.tags.get(schema.SUITE_TAG, "")

    @property
    def plan(self) -> StoredPlan:
        """The stored plan; an empty one where there is none, or where it cannot be read."""
        try:
            stored = json.loads(self.tags.get(schema.PLAN_TAG, "") or "{}")
        except ValueError:
            return StoredPlan()
        left_out = (
            NotApplicable(int(each["count"]), str(each["reason"]), str(each["what"]))
            for each in stored.get("not_applicable", ())
        )
        cells, settings = stored.get("cells"), read_plan_tags(self.tags)
        if settings is not None and sum(len(each.seeds) for each in settings) != cells:
            settings = None  # of another version of the suite, which a tlbench that stores none has overwritten since
        return StoredPlan(cells, tuple(left_out), settings)


def add_details(
    runs: Iterable[StoredRun], read: Callable[[StoredRun], RecordDetails | None], most: int, tags: Mapping[str, str]
) -> int:
    """Read the records of the runs of cells, those first that a report shows first; return how many were left out.

    These are failures, the baseline, and then the methods on backbones with the best mean accuracy.

    Args:
        runs: Of an experiment; trials, and runs that are not tlbench's, are passed over.
        read: Returns the details of a run, or None where its record is not to be had.
        most: Number of records that are read at most.
        tags: The experiment's.
    """
    cells = [run for run in runs if run.cell and not run.is_trial]
    if len(cells) > most:
        cells = _in_order(cells, tags.get(schema.BASELINE_TAG, ""))
    for run in islice(cells, most):
        run.details = read(run)
    return max(0, len(cells) - most)


def _in_order(cells: Sequence[StoredRun], baseline: str) -> list[StoredRun]:
    def row(run: StoredRun) -> tuple[str, ...]:
        return tuple(run.params.get(name, "") for name in ("protocol", "method_label", "backbone_label"))

    accuracies: dict[tuple[str, ...], list[float]] = {}
    for run in cells:
        accuracies.setdefault(row(run), []).extend(filter(math.isfinite, [run.metrics.get("test/accuracy", math.nan)]))
    means = {name: fmean(values or [0.0]) for name, values in accuracies.items()}

    def order(run: StoredRun) -> tuple[bool, bool, float, tuple[str, ...]]:
        name = row(run)
        others = baseline not in (name[1], run.params.get("method"))
        return run.status != "FAILED", others, -means[name], name

    return sorted(cells, key=order)


def deleted_suite(suite: str, place: str) -> UserError:
    """Return the error that says how a deleted experiment comes back."""
    return UserError(
        f"the experiment {suite!r} was deleted in {place}",
        "`tlbench sync SUITE`, or the next run of the suite, restores it where its results were run",
    )


def unknown_suite(suite: str, place: str, known: Iterable[str]) -> UserError:
    """Return the error that names the nearest suite with results."""
    names = [name for name in known if name != "Default"]  # MLflow makes this one itself
    hint = nearest(suite, names) if names else "no suite has stored results there yet; `tlbench run` makes them"
    return UserError(f"no results of a suite named {suite!r} in {place}", hint)
