"""Reads one experiment out of MLflow's tables: a few chosen columns, in SQL that SQLite and PostgreSQL both speak.

Through MLflow's own client 10,000 runs take half a minute; this takes about a second, and needs no MLflow installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

from tlbench.store.mlflow import record_artifact as attached
from tlbench.store.mlflow.schema import CURVE_PREFIX
from tlbench.store.mlflow.stored_experiment import (
    STATUSES,
    TAG_PREFIX,
    StoredExperiment,
    StoredRun,
    attach,
    unknown_suite,
)

_RECORDS = 3000  # read whole; a file each, some five thousand a second
_RUNS = f"""
    FROM runs WHERE experiment_id = :experiment AND lifecycle_stage = 'active'
    AND status IN ({", ".join(f"'{status}'" for status in STATUSES)})"""
_OF_RUNS = f"run_uuid IN (SELECT run_uuid {_RUNS})"


class Snapshot(Protocol):
    """A database as it stood at one moment."""

    @property
    def place(self) -> str:
        """Its address, fit to be shown."""

    @property
    def packed(self) -> str:
        """The aggregate that makes one JSON object, as text, of the columns ``key`` and ``value``."""

    def ask(self, query: str, **values: int) -> Iterable[Any]:
        """Return the rows that a query selects; ``:name`` in it stands for a value."""


def read(database: Snapshot, suite: str) -> StoredExperiment:
    """Read the suite's experiment.

    Args:
        database: As it stands now.
        suite: Name of the experiment.

    Raises:
        UserError: There is no such experiment.
    """
    known = {
        str(name): int(number)
        for name, number in database.ask("SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'")
    }
    if suite not in known:
        raise unknown_suite(suite, database.place, known)
    which = known[suite]
    tags = dict(
        map(
            tuple,
            database.ask("SELECT key, value FROM experiment_tags WHERE experiment_id = :experiment", experiment=which),
        )
    )
    runs = _runs(database, which)
    unread = attach(runs, lambda run: attached.from_folder(run.artifacts), _RECORDS, tags)
    return StoredExperiment(tags, runs, str(which), unread)


def suites(database: Snapshot) -> list[str]:
    """Return the names of all experiments."""
    found = database.ask("SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name")
    return [str(name) for (name,) in found]


def _runs(database: Snapshot, experiment: int) -> tuple[StoredRun, ...]:
    ended = database.ask(f"SELECT run_uuid, status, end_time, artifact_uri {_RUNS}", experiment=experiment)
    runs = {
        run: StoredRun(run, status, (moment or 0) / 1000.0, artifacts=place or "")
        for run, status, moment, place in ended
    }
    once: dict[str, str] = {}
    decode = json.JSONDecoder(object_pairs_hook=partial(_kept_once, once)).decode
    # Packed by the database: a row a run instead of one a parameter takes a third of the time.
    pairs = f"SELECT run_uuid, {database.packed} FROM {{}} WHERE {{}} GROUP BY run_uuid"
    for run, text in database.ask(pairs.format("params", _OF_RUNS), experiment=experiment):
        runs[run].params = decode(text)
    told = f"substr(key, 1, {len(TAG_PREFIX)}) = '{TAG_PREFIX}' AND {_OF_RUNS}"
    for run, text in database.ask(pairs.format("tags", told), experiment=experiment):
        runs[run].tags = decode(text)
    chosen = f"""
        SELECT run_uuid, key, value, is_nan FROM latest_metrics
        WHERE substr(key, 1, {len(CURVE_PREFIX)}) <> '{CURVE_PREFIX}' AND {_OF_RUNS}"""
    for run, key, number, is_nan in database.ask(chosen, experiment=experiment):
        runs[run].metrics[once.setdefault(key, key)] = math.nan if is_nan else number
    return tuple(runs.values())


def _kept_once(once: dict[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return pairs as a mapping whose texts are those of other runs where they are equal, as most are."""
    return {once.setdefault(key, key): once.setdefault(value, value) for key, value in pairs}
