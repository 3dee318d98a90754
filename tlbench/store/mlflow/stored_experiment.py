"""One experiment as MLflow stores it, whichever way it was read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean

from tlbench.core.errors import UserError, nearest
from tlbench.store.mlflow.record_artifact import Attached
from tlbench.store.mlflow.schema import BASELINE_TAG, CELL_TAG, TRIAL_TAG

STATUSES = ("FINISHED", "FAILED")
TAG_PREFIX = "tlbench."


@dataclass(slots=True)
class StoredRun:
    """One run, with the tags that tlbench wrote and the latest value of every metric that is no curve.

    Attributes:
        id: MLflow's run id.
        status: ``FINISHED`` or ``FAILED``.
        ended: End, seconds since the epoch; 0 where the store has none.
        params: Parameters as text.
        tags: Tags whose key starts with ``tlbench.``.
        metrics: Latest values, NaN where the store says so.
        artifacts: Where its files are kept, as the store says it.
        attached: What its record holds besides; None where it was not read.
    """

    id: str
    status: str
    ended: float
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: str = ""
    attached: Attached | None = None


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """An experiment as it stands in the store.

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


def attach(
    runs: Iterable[StoredRun], read: Callable[[StoredRun], Attached | None], most: int, tags: Mapping[str, str]
) -> int:
    """Attach records to the runs of cells, those first that a report shows first; return how many were left out.

    These are failures, the baseline, and then the methods on backbones with the best mean accuracy.

    Args:
        runs: Of an experiment; those of trials and of strangers are passed over.
        read: Returns the record of a run, or None where it is not to be had.
        most: Records that are asked for.
        tags: The experiment's.
    """
    cells = [run for run in runs if CELL_TAG in run.tags and TRIAL_TAG not in run.tags]
    if len(cells) > most:
        cells = _in_order(cells, tags.get(BASELINE_TAG, ""))
    for run in islice(cells, most):
        run.attached = read(run)
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


def unknown_suite(suite: str, place: str, known: Iterable[str]) -> UserError:
    """Return the error that names the nearest suite with results."""
    names = [name for name in known if name != "Default"]  # MLflow makes this one itself
    hint = nearest(suite, names) if names else "no suite has stored results there yet; `tlbench run` makes them"
    return UserError(f"no results of a suite named {suite!r} in {place}", hint)
