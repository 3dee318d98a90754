"""Asks a store what is really there of a suite, in one query, so that what was deleted there is sent again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple, Protocol

from tlbench.core.errors import UserError
from tlbench.store.addresses import without_credentials
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow import schema
from tlbench.store.mlflow.reconcile import Run, decide
from tlbench.store.tracking_state import TrackingState

_ROUNDING_S = 2.0  # the time in a run's tag is rounded to seconds


class NamedExperiment(NamedTuple):
    """An experiment as a store lists it."""

    id: str
    name: str
    is_deleted: bool


@dataclass(frozen=True)
class Presence:
    """What a store has of a suite at this moment.

    Attributes:
        experiment: The suite's, which may have been deleted.
        tags: The experiment's.
        runs: By cell: those that are not deleted and have all that a run has.
    """

    experiment: NamedExperiment
    tags: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, Sequence[Run]] = field(default_factory=dict)


class PresenceReader(Protocol):
    """An open store."""

    def presence(self, suite: str) -> Presence | None:
        """Return what there is of a suite, None where no experiment has its name."""

    def tagged(self, key: str, value: str) -> list[NamedExperiment]:
        """Return the experiments with a tag of this value, whatever their name."""


@dataclass(frozen=True)
class Loss:
    """What a store lacks of what was written there.

    Attributes:
        cells: Whose runs are not there, or are those of an earlier result.
        tags: Whether the experiment's tags are not those that were written.
        is_deleted: Whether the experiment was deleted, and can be restored.
        is_gone: Whether there is no trace of the experiment.
    """

    cells: frozenset[str] = frozenset()
    tags: bool = False
    is_deleted: bool = False
    is_gone: bool = False

    def describe(self, suite: str) -> str:
        """Return what had been lost as a sentence for the user once it is mended; empty where nothing had been."""
        if self.is_deleted:
            return f"the experiment {suite!r} had been deleted in MLflow, and has been restored"
        count = f"{len(self.cells)} result{'s' * (len(self.cells) != 1)}"
        if self.is_gone:
            return f"the experiment {suite!r} was gone from MLflow, and has been made anew with {count}"
        have = "has" if len(self.cells) == 1 else "have"
        return (
            f"{count} of {suite!r} had been deleted or lost in MLflow, and {have} been sent again" if self.cells else ""
        )


class RenamedError(UserError):
    """The suite's experiment has another name now."""


def by_cell(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return runs by their cell."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.cell, []).append(run)
    return found


def find_loss(reader: PresenceReader, ledger: Ledger, state: TrackingState, uri: str) -> Loss:
    """Compare what a store has of a suite with what was written there.

    Args:
        reader: The store.
        ledger: Holds the results.
        state: What was written there, as the ledger remembers it.
        uri: Address of the store.

    Raises:
        RenamedError: The experiment has another name now.
        UserError: The store cannot be read.
    """
    written, tags = state.written(), state.written_tags()  # before the store, to which others may write meanwhile
    if not written and tags is None:
        return Loss()
    stored = dict(json.loads(tags)) if tags is not None else {}
    found = reader.presence(state.suite)
    if found is None:
        _refuse_renamed(reader, state.suite, stored, uri)
        return Loss(frozenset(written), tags is not None, is_gone=True)
    if found.experiment.is_deleted:
        return Loss(frozenset(written), tags is not None, is_deleted=True)
    lost = {cell for cell, since in written.items() if not _is_there(cell, since, found.runs.get(cell, ()), ledger)}
    return Loss(frozenset(lost), any(found.tags.get(name) != value for name, value in stored.items()))


def _is_there(cell: str, retracted: float, runs: Sequence[Run], ledger: Ledger) -> bool:
    """Say whether one of a cell's runs stands for its result; the record is read only where times do not tell it.

    Args:
        cell: Id.
        retracted: When an earlier result of it was last retracted, in seconds since the epoch; 0 where none was.
        runs: Of the cell, in the store.
        ledger: Holds the results.
    """
    newest = max((run.written_at for run in runs), default=-inf)
    if not retracted or abs(newest - retracted) > _ROUNDING_S:
        return bool(runs) and newest > retracted
    record = next(ledger.records([cell]), None)
    return record is None or decide(record, runs, ledger.retractions(cell)).keep is not None


def _refuse_renamed(reader: PresenceReader, suite: str, tags: Mapping[str, str], uri: str) -> None:
    """Refuse to begin a second experiment where the suite's own, known by its tags, has another name.

    Raises:
        RenamedError: It has.
    """
    text = tags.get(schema.SUITE_TAG)
    others = reader.tagged(schema.SUITE_TAG, text) if text else []
    for other in others:
        if not other.is_deleted:
            place = without_credentials(uri)
            command = ["mlflow", "experiments", "rename", "--experiment-id", other.id, "--new-name", suite]
            raise RenamedError(
                f"{place}: the experiment {suite!r} has been renamed there, to {other.name!r}",
                f"`MLFLOW_TRACKING_URI={shlex.quote(place)} {shlex.join(command)}` gives it its name back; "
                f"or write `name: {other.name}` in the suite",
            )
