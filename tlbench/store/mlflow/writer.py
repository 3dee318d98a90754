"""Speaks to MLflow: finds, writes and deletes a suite's runs. The only file that imports mlflow, and only when used."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from tlbench.core.description import Trial
from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.store import postgresql
from tlbench.store.addresses import SQLITE, without_credentials
from tlbench.store.database import WAIT_S, sqlite_errors_of
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.reconcile import RefusedError, Run, writer_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment as Found
    from mlflow.entities import Run as Created

_PARENT_TAG = "mlflow.parentRunId"  # by which MLflow's pages nest runs
_SERVERS = ("http", "https", "databricks")  # which keep files themselves
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what goes wrong is told once, by the writer
    "PGCONNECT_TIMEOUT": "30",
}
_LOCK = 0x746C62656E6368  # PostgreSQL's name of the lock under which tables are made
_RUNS = f"""
    SELECT runs.run_uuid, status, cell.value, coalesce(digest.value, ''), coalesce(sync.value, '')
    FROM runs JOIN tags AS cell ON cell.run_uuid = runs.run_uuid
    LEFT JOIN tags AS digest ON digest.run_uuid = runs.run_uuid AND digest.key = '{layout.DIGEST_TAG}'
    LEFT JOIN tags AS sync ON sync.run_uuid = runs.run_uuid AND sync.key = '{layout.SYNC_TAG}'
    WHERE cell.key = '{layout.CELL_TAG}' AND experiment_id = :experiment AND lifecycle_stage = 'active' AND """


def prepare(uri: str | None, workspace: Path) -> str:
    """Set what MLflow reads from the environment, unless the user did, and return the tracking URI. Asks no server.

    Args:
        uri: Where the user wants results; else ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the workspace.
        workspace: tlbench's folder.

    Raises:
        UserError: The URI names a plain folder, or a file that is no database; or it is no address of a PostgreSQL
            database, or the driver for it is missing.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{workspace.absolute() / 'mlflow.db'}"
    if "://" not in uri or uri.startswith("file:"):
        name = unquote(urlsplit(uri).path).rstrip("/") or "mlflow"
        raise UserError(f"{uri}: MLflow does not write to plain folders", f"give {SQLITE}{name}.db or http://HOST:PORT")
    if postgresql.is_postgresql(uri):
        postgresql.address(uri)
    path = sqlite_path(uri)
    if path is None:
        return uri
    if path.exists():
        with sqlite_errors_of(path), closing(sqlite3.connect(path, timeout=WAIT_S)) as link:
            link.execute("SELECT count(*) FROM sqlite_schema")
    return f"{SQLITE}{path}"


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of the SQLite file that a tracking URI names, None when it names something else."""
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None


def analyze(uri: str) -> None:
    """Let SQLite count its rows, without which MLflow's pages sort large experiments for minutes."""
    path = sqlite_path(uri)
    if path is not None:
        with sqlite_errors_of(path), closing(sqlite3.connect(path, timeout=WAIT_S)) as link:
            link.execute("PRAGMA analysis_limit = 1000")
            link.execute("ANALYZE")


class Experiment:
    """A suite's experiment in a tracking store, made when it is not there.

    Args:
        uri: From :func:`prepare`.
        workspace: tlbench's folder, where artifacts go unless a server keeps them.
        suite: Name of the suite and of the experiment.
        writer: Put on every run (see :func:`tlbench.store.mlflow.reconcile.writer_tag`).

    Attributes:
        is_new: The experiment was not there before.

    Raises:
        UserError: It was deleted.
    """

    def __init__(self, uri: str, workspace: Path, suite: str, writer: str) -> None:
        self._client = _connect(uri, workspace)
        self._uri, self._path = uri, sqlite_path(uri)
        self._keeps_files = _scheme(uri) in _SERVERS
        self._by_sql = self._path is not None or postgresql.is_postgresql(uri)
        self._writer = writer
        found = self._client.get_experiment_by_name(suite)
        self.is_new = found is None
        found = found or self._create(suite, None if self._keeps_files else workspace / "mlartifacts")
        if found.lifecycle_stage != "active":
            raise UserError(
                f"{without_credentials(uri)}: the experiment {suite!r} was deleted there",
                f"restore it (`mlflow experiments restore -x {found.experiment_id}`) or give the suite another name",
            )
        self._id, self._tags = found.experiment_id, found.tags
        self._parents: dict[str, str] = {}
        self._won: set[str] = set()

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set the experiment's tags."""
        for name, value in tags.items():
            if self._tags.get(name) != value:
                self._client.set_experiment_tag(self._id, name, value)

    def find(self, cells: Collection[str]) -> list[Run]:
        """Return all runs of these cells, whatever their status."""
        if self._by_sql:
            names = {f"cell{number}": cell for number, cell in enumerate(cells)}
            return self._select(f"cell.value IN ({', '.join(f':{name}' for name in names)})", names)
        return [run for cell in cells for run in self._search(f"tags.`{layout.CELL_TAG}` = '{cell}'")]

    def running(self) -> list[Run]:
        """Return the runs of cells that nobody has ended."""
        if self._by_sql:
            return self._select("status = 'RUNNING'", {})
        return self._search("attributes.status = 'RUNNING'")

    def write(self, record: Record) -> None:
        """Write a record as a run, with the times of the record; ended last.

        Raises:
            RefusedError: MLflow says that the record itself is wrong.
        """
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        start, end = layout.times(record)
        tags = layout.tags(record) | {layout.SYNC_TAG: writer_tag(self._writer)}
        if record.cell.trial is not None:
            tags[_PARENT_TAG] = self._parent(record, record.cell.trial)
        try:
            run = self._client.create_run(self._id, start, tags, record.cell.label)
            name = run.info.run_id
            for points, params in layout.chunks(layout.metrics(record), layout.params(record)):
                self._client.log_batch(
                    name,
                    metrics=[Metric(point.key, point.value, end, point.step) for point in points],
                    params=[Param(*pair) for pair in params.items()],
                )
            self._attach(run, record.model_dump_json())
            self._client.set_terminated(name, "FINISHED" if record.status == "done" else "FAILED", end)
            if record.cell.winner is not None:
                self._tag_winner(record.cell.winner)
        except MlflowException as error:
            if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise RefusedError(str(error).partition("\n")[0]) from error
            raise

    def delete(self, run_id: str) -> None:
        """Delete a run; nothing happens when it is gone."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.delete_run(run_id)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise

    def _parent(self, record: Record, trial: Trial) -> str:
        """Return the run under which a setting's trials stand, made when it is not there."""
        key = trial.setting
        if key not in self._parents:
            condition = f"tags.`{layout.SEARCH_TAG}` = '{key}'"
            found = self._client.search_runs([self._id], condition, max_results=1)
            if found:
                self._parents[key] = found[0].info.run_id
            else:
                tags = {layout.SEARCH_TAG: key}
                run = self._client.create_run(
                    self._id, layout.times(record)[0], tags, f"search: {record.cell.setting_label}"
                )
                self._client.set_terminated(run.info.run_id, "FINISHED")
                self._parents[key] = run.info.run_id
        return self._parents[key]

    def _tag_winner(self, winner: Trial) -> None:
        """Tag the trial that a setting's cells took their values from."""
        setting, number = winner.setting, winner.number
        if setting in self._won:
            return
        condition = f"tags.`{layout.SETTING_TAG}` = '{setting}' AND tags.`{layout.TRIAL_TAG}` = '{number}'"
        for run in self._client.search_runs([self._id], condition, max_results=10):
            self._client.set_tag(run.info.run_id, layout.WINNER_TAG, "true")
            self._won.add(setting)

    def _create(self, suite: str, artifacts: Path | None) -> Found:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_experiment(
                self._client.create_experiment(suite, None if artifacts is None else str(artifacts.absolute()))
            )
        except MlflowException as error:  # another driver was faster, or the first answer was lost
            found = self._client.get_experiment_by_name(suite)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
            return found

    def _attach(self, run: Created, text: str) -> None:
        place = urlsplit(run.info.artifact_uri)
        if not self._keeps_files and place.scheme in ("", "file"):
            folder = Path(unquote(place.path) if place.scheme else run.info.artifact_uri)
            folder.mkdir(parents=True, exist_ok=True)  # MLflow does the same, and reads the run twice for it
            (folder / layout.ARTIFACT).write_text(text, encoding="utf-8")
        else:
            self._client.log_text(run.info.run_id, text, layout.ARTIFACT)

    def _search(self, condition: str) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([self._id], condition, max_results=500, page_token=token)
            found += [_run(run.info.run_id, run.info.status, run.data.tags) for run in page]
            token = page.token
            if not token:
                return [run for run in found if run.cell]

    def _select(self, condition: str, values: Mapping[str, str]) -> list[Run]:
        """Ask the database itself: a hundred times as fast as the client."""
        bound: dict[str, str | int] = {**values, "experiment": int(self._id)}
        if self._path is not None:
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as link:
                return [Run(*row) for row in link.execute(_RUNS + condition, bound)]
        from sqlalchemy import text

        with postgresql.engine(self._uri).connect() as link:
            return [Run(*row) for row in link.execute(text(_RUNS + condition), bound)]


def _run(name: str, status: str, tags: Mapping[str, Any]) -> Run:
    cell, digest, sync = (tags.get(key, "") for key in (layout.CELL_TAG, layout.DIGEST_TAG, layout.SYNC_TAG))
    return Run(name, status, cell, digest, sync)


def _connect(uri: str, workspace: Path) -> MlflowClient:
    from mlflow import MlflowClient

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its retries are nobody's news
    with _alone(uri, workspace):
        client = MlflowClient(uri)
        if _scheme(uri) not in _SERVERS:
            client.search_experiments(max_results=1)  # makes the tables of a new database
            path = sqlite_path(uri)
            if path is not None:
                # A mode of the file, kept for good. When a reader stands in the way, the next writer sets it.
                with closing(sqlite3.connect(path)) as link, suppress(sqlite3.OperationalError):
                    link.execute("PRAGMA journal_mode = WAL")
    return client


@contextmanager
def _alone(uri: str, workspace: Path) -> Iterator[None]:
    """Let one process at a time open a database: on a new one MLflow's migrations crash each other.

    A PostgreSQL server that is down says so at once, where MLflow by itself would try again for a minute.
    """
    if postgresql.is_postgresql(uri):
        from sqlalchemy import text

        with postgresql.engine(uri).connect() as link:
            link.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))  # until the connection ends
            yield
        return
    path = sqlite_path(uri)
    place = path.with_name(f"{path.name}.lock") if path is not None else workspace / "mlflow.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place):
        yield


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]
