"""A suite's experiment in MLflow: finds, writes and deletes its runs. Imports mlflow only when it is used."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tlbench.core.description import Trial
from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.store import postgresql
from tlbench.store.addresses import without_credentials
from tlbench.store.database import WAIT_S
from tlbench.store.mlflow import schema
from tlbench.store.mlflow.connection import connect
from tlbench.store.mlflow.reconcile import RefusedError, Run, writer_tag
from tlbench.store.mlflow.tracking_uri import is_server, sqlite_path

if TYPE_CHECKING:
    from mlflow.entities import Experiment as MlflowExperiment
    from mlflow.entities import Run as MlflowRun

_PARENT_TAG = "mlflow.parentRunId"  # by which MLflow's pages nest runs
_RUNS = f"""
    SELECT runs.run_uuid, status, cell.value, coalesce(digest.value, ''), coalesce(writer.value, '')
    FROM runs JOIN tags AS cell ON cell.run_uuid = runs.run_uuid
    LEFT JOIN tags AS digest ON digest.run_uuid = runs.run_uuid AND digest.key = '{schema.DIGEST_TAG}'
    LEFT JOIN tags AS writer ON writer.run_uuid = runs.run_uuid AND writer.key = '{schema.WRITER_TAG}'
    WHERE cell.key = '{schema.CELL_TAG}' AND experiment_id = :experiment AND lifecycle_stage = 'active' AND """


class Experiment:
    """A suite's experiment in a tracking store, created when it is not there.

    Each cell is a run, under a parent run for its search where it is a trial. What the connection raises goes through.

    Args:
        uri: From :func:`tlbench.store.mlflow.tracking_uri.prepare_tracking`.
        workspace: Folder of the workspace, where artifacts go unless a server keeps them.
        suite: Name of the suite and of the experiment.
        writer: Name of the writer, which is put on every run (see :func:`tlbench.store.mlflow.reconcile.writer_tag`).
        restore: Restore the experiment where it was deleted, with all of its runs: MLflow knows no other way.

    Attributes:
        is_new: The experiment was not there before.
        is_restored: It was deleted before.

    Raises:
        UserError: It was deleted, and is not to be restored.
    """

    def __init__(self, uri: str, workspace: Path, suite: str, writer: str, *, restore: bool = False) -> None:
        self._client = connect(uri, workspace)
        self._uri, self._path = uri, sqlite_path(uri)
        self._keeps_files = is_server(uri)
        self._by_sql = self._path is not None or postgresql.is_postgresql(uri)
        self._writer = writer
        experiment = self._client.get_experiment_by_name(suite)
        self.is_new = experiment is None
        experiment = experiment or self._create(suite, None if self._keeps_files else workspace / "mlartifacts")
        self.is_restored = restore and experiment.lifecycle_stage != "active"
        if self.is_restored:
            self._client.restore_experiment(experiment.experiment_id)
        elif experiment.lifecycle_stage != "active":
            raise UserError(
                f"{without_credentials(uri)}: the experiment {suite!r} was deleted there",
                f"restore it (`mlflow experiments restore -x {experiment.experiment_id}`) "
                "or give the suite another name",
            )
        self._id, self._tags = experiment.experiment_id, experiment.tags
        self._parents: dict[str, str] = {}  # ids of the searches' runs, by the key of the search problem
        self._tagged_winners: set[str] = set()  # keys of the search problems whose winner has its tag

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set the experiment's tags."""
        for name, value in tags.items():
            if self._tags.get(name) != value:
                self._client.set_experiment_tag(self._id, name, value)
                self._tags = {**self._tags, name: value}

    def find(self, cells: Collection[str]) -> list[Run]:
        """Return all runs of these cells, whatever their status."""
        if self._by_sql:
            names = {f"cell{number}": cell for number, cell in enumerate(cells)}
            return self._select(f"cell.value IN ({', '.join(f':{name}' for name in names)})", names)
        return [run for cell in cells for run in self._search(f"tags.`{schema.CELL_TAG}` = '{cell}'")]

    def running(self) -> list[Run]:
        """Return the runs of cells that nobody has ended."""
        if self._by_sql:
            return self._select("status = 'RUNNING'", {})
        return self._search("attributes.status = 'RUNNING'")

    def everything(self) -> list[Run]:
        """Return all runs of cells."""
        return self._select("1 = 1", {}) if self._by_sql else self._search(f"tags.`{schema.CELL_TAG}` != ''")

    def write(self, record: Record) -> None:
        """Write a record as a run, with the times of the record; ended last.

        Raises:
            RefusedError: MLflow says that the record itself is wrong.
        """
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        start, end = schema.times(record)
        tags = schema.tags(record) | {schema.WRITER_TAG: writer_tag(self._writer)}
        if record.cell.trial is not None:
            tags[_PARENT_TAG] = self._parent(record, record.cell.trial)
        try:
            run = self._client.create_run(self._id, start, tags, record.cell.label)
            name = run.info.run_id
            for points, params in schema.chunks(schema.metrics(record), schema.params(record)):
                self._client.log_batch(
                    name,
                    metrics=[Metric(point.key, point.value, end, point.step) for point in points],
                    params=[Param(*pair) for pair in params.items()],
                )
            self._attach(run, record.model_dump_json())
            self._client.set_terminated(name, "FINISHED" if record.status == "done" else "FAILED", end)
            if record.cell.winner is not None:
                self.tag_winner(record.cell.winner)
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
        """Return the id of the run under which the trials of a setting stand, created when it is not there."""
        key = trial.setting
        if key not in self._parents:
            runs = self._client.search_runs([self._id], f"tags.`{schema.SEARCH_TAG}` = '{key}'", max_results=1)
            if runs:
                self._parents[key] = runs[0].info.run_id
            else:
                tags, name = {schema.SEARCH_TAG: key}, f"search: {record.cell.setting_label} | seed {record.cell.seed}"
                run = self._client.create_run(self._id, schema.times(record)[0], tags, name)
                self._client.set_terminated(run.info.run_id, "FINISHED")
                self._parents[key] = run.info.run_id
        return self._parents[key]

    def tag_winner(self, winner: Trial) -> None:
        """Tag the trial that a setting's cells took their values from, where its run is there."""
        setting, number = winner.setting, winner.number
        if setting in self._tagged_winners:
            return
        condition = f"tags.`{schema.SETTING_TAG}` = '{setting}' AND tags.`{schema.TRIAL_TAG}` = '{number}'"
        for run in self._client.search_runs([self._id], condition, max_results=10):
            self._client.set_tag(run.info.run_id, schema.WINNER_TAG, "true")
            self._tagged_winners.add(setting)

    def _create(self, suite: str, artifacts: Path | None) -> MlflowExperiment:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_experiment(
                self._client.create_experiment(suite, None if artifacts is None else _location(artifacts.absolute()))
            )
        except MlflowException as error:  # another driver was faster, or the first answer was lost
            experiment = self._client.get_experiment_by_name(suite)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                raise
            return experiment

    def _attach(self, run: MlflowRun, text: str) -> None:
        """Keep the whole record as an artifact of its run."""
        address = urlsplit(run.info.artifact_uri)
        if not self._keeps_files and address.scheme in ("", "file"):
            folder = Path(unquote(address.path) if address.scheme else run.info.artifact_uri)
            folder.mkdir(parents=True, exist_ok=True)  # MLflow does the same, and reads the run twice for it
            (folder / schema.ARTIFACT).write_text(text, encoding="utf-8")
        else:
            self._client.log_text(run.info.run_id, text, schema.ARTIFACT)

    def _search(self, condition: str) -> list[Run]:
        """Return the runs of cells that fulfil a condition in MLflow's language, by its client."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([self._id], condition, max_results=500, page_token=token)
            runs += [_run(run.info.run_id, run.info.status, run.data.tags) for run in page]
            token = page.token
            if not token:
                return [run for run in runs if run.cell]

    def _select(self, condition: str, values: Mapping[str, str]) -> list[Run]:
        """Return the runs of cells that fulfil an SQL condition: a hundred times as fast as by the client."""
        bound: dict[str, str | int] = {**values, "experiment": int(self._id)}
        if self._path is not None:
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as connection:
                return [Run(*row) for row in connection.execute(_RUNS + condition, bound)]
        from sqlalchemy import text

        with postgresql.engine(self._uri).connect() as connection:
            return [Run(*row) for row in connection.execute(text(_RUNS + condition), bound)]


def _location(folder: Path) -> str:
    """Return how MLflow is told of a folder: its path, or an address where MLflow would read the path as one."""
    return folder.as_uri() if set("%?#") & set(str(folder)) else str(folder)


def _run(name: str, status: str, tags: Mapping[str, Any]) -> Run:
    cell, digest, writer = (tags.get(key, "") for key in (schema.CELL_TAG, schema.DIGEST_TAG, schema.WRITER_TAG))
    return Run(name, status, cell, digest, writer)
