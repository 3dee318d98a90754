"""Reads one experiment straight out of MLflow's SQLite file: a few chosen columns, in one read-only snapshot.

Through MLflow's own client 10,000 runs take half a minute; this takes about a second, and needs no MLflow installed.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import quote, unquote

from tlbench.core.errors import UserError
from tlbench.report import attached
from tlbench.report.stored import STATUSES, TAG_PREFIX, StoredExperiment, StoredRun, unknown_suite
from tlbench.store.mlflow_layout import CELL_TAG, CURVE_PREFIX

SCHEME = "sqlite:///"
_WAIT_S = 30.0
_RECORDS = 3000  # read whole; a file each, some five thousand a second
_RUNS = f"""
    FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'
    AND status IN ({", ".join(f"'{status}'" for status in STATUSES)})"""
_OF_RUNS = f"run_uuid IN (SELECT run_uuid {_RUNS})"


def read(uri: str, suite: str) -> StoredExperiment:
    """Read the suite's experiment.

    Args:
        uri: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.
        suite: Name of the experiment.

    Raises:
        UserError: There is no such file or experiment, or the file is no MLflow database.
    """
    with _opened(uri) as (link, path):
        return _read(link, path, suite)


def suites(uri: str) -> list[str]:
    """Return the names of all experiments.

    Args:
        uri: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Raises:
        UserError: There is no such file, or the file is no MLflow database.
    """
    with _opened(uri) as (link, _):
        found = link.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name")
        return [str(name) for (name,) in found]


@contextmanager
def _opened(uri: str) -> Iterator[tuple[sqlite3.Connection, Path]]:
    path = Path(unquote(uri.removeprefix(SCHEME).partition("?")[0])).absolute()
    if not path.is_file():
        raise UserError(f"{path}: no such file", "nothing has been stored there yet; run the suite first")
    try:
        link = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_WAIT_S, isolation_level=None)
        with closing(link):
            link.execute("BEGIN")  # every query below sees the same moment
            yield link, path
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: cannot be read as an MLflow database: {error}") from error


def _read(link: sqlite3.Connection, path: Path, suite: str) -> StoredExperiment:
    experiments: dict[str, int] = dict(
        link.execute("SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'")
    )
    if suite not in experiments:
        raise unknown_suite(suite, str(path), experiments)
    which = (experiments[suite],)
    tags = dict(link.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", which))
    runs = {
        run: StoredRun(run, status, (ended or 0) / 1000.0, artifacts=place or "")
        for run, status, ended, place in link.execute(f"SELECT run_uuid, status, end_time, artifact_uri {_RUNS}", which)
    }
    # Packed by SQLite: a row a run instead of one a parameter takes a third of the time.
    packed = "SELECT run_uuid, json_group_object(key, value) FROM {} WHERE {} GROUP BY run_uuid"
    for run, pairs in link.execute(packed.format("params", _OF_RUNS), which):
        runs[run].params = json.loads(pairs)
    for run, pairs in link.execute(packed.format("tags", f"key GLOB '{TAG_PREFIX}*' AND {_OF_RUNS}"), which):
        runs[run].tags = json.loads(pairs)
    chosen = f"""
        SELECT run_uuid, key, value, is_nan FROM latest_metrics
        WHERE key NOT GLOB '{CURVE_PREFIX}*' AND {_OF_RUNS}"""
    for run, key, number, is_nan in link.execute(chosen, which):
        runs[run].metrics[key] = math.nan if is_nan else number
    failures_first = sorted(runs.values(), key=lambda run: run.status != "FAILED")
    for told in islice((run for run in failures_first if run.tags.get(CELL_TAG)), _RECORDS):
        told.attached = attached.from_folder(told.artifacts)
    return StoredExperiment(tags, tuple(runs.values()), str(which[0]))
