"""One experiment as MLflow stores it, whichever way it was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tlbench.core.errors import UserError, nearest
from tlbench.report.attached import Attached

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
    """An experiment's tags and its runs that ended; ``id`` is MLflow's name of it."""

    tags: dict[str, str]
    runs: tuple[StoredRun, ...]
    id: str = ""


def unknown_suite(suite: str, place: str, known: Iterable[str]) -> UserError:
    """Return the error that names the nearest suite with results."""
    names = [name for name in known if name != "Default"]  # MLflow makes this one itself
    hint = nearest(suite, names) if names else "no suite has stored results there yet; `tlbench run` makes them"
    return UserError(f"no results of a suite named {suite!r} in {place}", hint)
