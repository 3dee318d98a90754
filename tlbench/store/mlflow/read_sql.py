"""Reads experiments out of MLflow's tables: a few chosen columns, in SQL that SQLite and PostgreSQL both speak.

Through MLflow's own client 10,000 runs take half a minute; this takes about a second, and needs no MLflow installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

from tlbench.store.mlflow.presence import NamedExperiment, Presence, by_cell
from tlbench.store.mlflow.reconcile import Run
from tlbench.store.mlflow.record_artifact import read_details
from tlbench.store.mlflow.schema import CELL_TAG, CURVE_PREFIX, DIGEST_TAG, WRITER_TAG
from tlbench.store.mlflow.stored_experiment import (
    STATUSES,
    TAG_PREFIX,
    StoredExperiment,
    StoredRun,
    add_details,
    deleted_suite,
    unknown_suite,
)

_RECORDS = 3000  # read whole; a file each, some five thousand a second
_RUNS = f"""
    FROM runs WHERE experiment_id = :experiment AND lifecycle_stage = 'active'
    AND status IN ({", ".join(f"'{status}'" for status in STATUSES)})"""
_OF_RUNS = f"run_uuid IN (SELECT run_uuid {_RUNS})"


_WRITTEN = f"""
    SELECT runs.run_uuid, status, cell.value, digest.value, coalesce(writer.value, '')
    FROM runs JOIN tags AS cell ON cell.run_uuid = runs.run_uuid AND cell.key = '{CELL_TAG}'
    JOIN tags AS digest ON digest.run_uuid = runs.run_uuid AND digest.key = '{DIGEST_TAG}'
    LEFT JOIN tags AS writer ON writer.run_uuid = runs.run_uuid AND writer.key = '{WRITER_TAG}'
    WHERE experiment_id = :experiment AND lifecycle_stage = 'active'
    AND status IN ({", ".join(f"'{status}'" for status in STATUSES)})"""


class Database(Protocol):
    """A database as it stood at one moment."""

    @property
    def place(self) -> str:
        """Its address, fit to be shown."""

    @property
    def json_object(self) -> str:
        """The aggregate that makes one JSON object, as text, of the columns ``key`` and ``value``."""

    def rows(self, query: str, **values: int | str) -> Iterable[Any]:
        """Return the rows that a query selects; ``:name`` in it stands for a value."""


class SqlReader:
    """Reads from an open database; see :class:`tlbench.store.mlflow.readers.ExperimentReader`.

    Args:
        database: As it stands now.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def suites(self) -> list[str]:
        """Return the names of all experiments."""
        found = self.database.rows("SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name")
        return [str(name) for (name,) in found]

    def read(self, suite: str) -> StoredExperiment:
        """Return the suite's experiment.

        Raises:
            UserError: There is no such experiment.
        """
        found = self._named(suite)
        if found is None:
            raise unknown_suite(suite, self.database.place, self.suites())
        if found.is_deleted:
            raise deleted_suite(suite, self.database.place)
        experiment, tags = int(found.id), self._tags(found)
        runs = _runs(self.database, experiment)
        unread = add_details(runs, lambda run: read_details(run.artifacts), _RECORDS, tags)
        return StoredExperiment(tags, runs, found.id, unread)

    def presence(self, suite: str) -> Presence | None:
        """Return what there is of a suite, None where no experiment has its name."""
        found = self._named(suite)
        if found is None or found.is_deleted:
            return found and Presence(found)
        runs = (Run(*row) for row in self.database.rows(_WRITTEN, experiment=int(found.id)))
        return Presence(found, self._tags(found), by_cell(runs))

    def tagged(self, key: str, value: str) -> list[NamedExperiment]:
        """Return the experiments with a tag of this value."""
        of_tag = "experiment_id IN (SELECT experiment_id FROM experiment_tags WHERE key = :key AND value = :value)"
        return self._experiments(of_tag, key=key, value=value)

    def _named(self, suite: str) -> NamedExperiment | None:
        return next(iter(self._experiments("name = :name", name=suite)), None)

    def _experiments(self, condition: str, **values: str) -> list[NamedExperiment]:
        query = f"SELECT experiment_id, name, lifecycle_stage FROM experiments WHERE {condition}"
        rows = self.database.rows(query, **values)
        return [NamedExperiment(str(number), str(name), stage != "active") for number, name, stage in rows]

    def _tags(self, experiment: NamedExperiment) -> dict[str, str]:
        query = "SELECT key, value FROM experiment_tags WHERE experiment_id = :experiment"
        return {str(key): str(value) for key, value in self.database.rows(query, experiment=int(experiment.id))}


def _runs(database: Database, experiment: int) -> tuple[StoredRun, ...]:
    ended = database.rows(f"SELECT run_uuid, status, end_time, artifact_uri {_RUNS}", experiment=experiment)
    runs = {
        run: StoredRun(run, status, (moment or 0) / 1000.0, artifacts=place or "")
        for run, status, moment, place in ended
    }
    shared: dict[str, str] = {}
    decode = json.JSONDecoder(object_pairs_hook=partial(_with_shared_texts, shared)).decode
    # One JSON object a run instead of one row a parameter takes a third of the time.
    pairs = f"SELECT run_uuid, {database.json_object} FROM {{}} WHERE {{}} GROUP BY run_uuid"
    for run, text in database.rows(pairs.format("params", _OF_RUNS), experiment=experiment):
        runs[run].params = decode(text)
    own_tags = f"substr(key, 1, {len(TAG_PREFIX)}) = '{TAG_PREFIX}' AND {_OF_RUNS}"
    for run, text in database.rows(pairs.format("tags", own_tags), experiment=experiment):
        runs[run].tags = decode(text)
    scalars = f"""
        SELECT run_uuid, key, value, is_nan FROM latest_metrics
        WHERE substr(key, 1, {len(CURVE_PREFIX)}) <> '{CURVE_PREFIX}' AND {_OF_RUNS}"""
    for run, key, number, is_nan in database.rows(scalars, experiment=experiment):
        runs[run].metrics[shared.setdefault(key, key)] = math.nan if is_nan else number
    return tuple(runs.values())


def _with_shared_texts(shared: dict[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return pairs as a mapping in which equal texts of different runs, as most are, are one object."""
    return {shared.setdefault(key, key): shared.setdefault(value, value) for key, value in pairs}
