"""Reads experiments from an MLflow tracking server over its REST interface, page by page."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

from tlbench.core.errors import UserError
from tlbench.store.addresses import without_credentials
from tlbench.store.mlflow.presence import NamedExperiment, Presence, by_cell
from tlbench.store.mlflow.reconcile import Run
from tlbench.store.mlflow.record_artifact import RecordDetails, parse_details
from tlbench.store.mlflow.schema import ARTIFACT, CELL_TAG, CURVE_PREFIX, DIGEST_TAG, WRITER_TAG
from tlbench.store.mlflow.stored_experiment import (
    STATUSES,
    TAG_PREFIX,
    StoredExperiment,
    StoredRun,
    add_details,
    deleted_suite,
    unknown_suite,
)

SCHEMES = ("http://", "https://")
_PAGE = 1000
_TIMEOUT_S = 60.0
_RECORDS = 300  # read whole; a request each, some hundred a second
_MISSED = 10  # records in a row that a server does not hand out, after which it is asked for no more


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credentials to wherever the answer points."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class _Server:
    """A tracking server: its address without credentials, and the headers that carry them."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.address = without_credentials(uri).rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        user = unquote(parts.username or "") or os.environ.get("MLFLOW_TRACKING_USERNAME", "")
        password = unquote(parts.password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
        if user and password:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        elif token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(self, endpoint: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the decoded answer, or None where the server says the thing does not exist.

        Raises:
            UserError: The server cannot be reached, refuses, or is no MLflow server.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api/2.0/mlflow/{endpoint}", data, self._headers)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read(10_000).decode(errors="replace")
            if error.code == 404 and "RESOURCE_DOES_NOT_EXIST" in text:
                return None
            said = f"{self.address}: the MLflow server answers {error.code} {error.reason}"
            raise UserError(said, _hint(error.code)) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"{self.address}: cannot reach the MLflow server: {reason}",
                "is it running, and is the address right?",
            ) from error
        except ValueError as error:
            raise UserError(f"{self.address}: the answer is not JSON", "is this an MLflow server?") from error
        if not isinstance(answer, dict):
            raise UserError(f"{self.address}: the answer has another form", "is this an MLflow server?")
        return answer

    def record(self, run_id: str) -> bytes:
        """Return a run's record as it is stored, or nothing where the server does not hand it out."""
        where = f"get-artifact?path={ARTIFACT}&run_uuid={quote(run_id)}"
        request = urllib.request.Request(f"{self.address}/{where}", None, self._headers)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                return bytes(response.read())
        except (OSError, HTTPException):
            return b""

    def pages(self, endpoint: str, body: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
        """Yield every item under ``key`` over all pages of a search."""
        token = ""
        while True:
            answer = self.call(endpoint, body | ({"page_token": token} if token else {})) or {}
            yield from answer.get(key, ())
            token = answer.get("next_page_token", "")
            if not token:
                return


def _hint(code: int) -> str:
    if code in (401, 403):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if code in (301, 302, 307, 308):
        return "it points elsewhere; give the final address"
    return "its own log says more" if code >= 500 else "is this the address of an MLflow server?"


class RestReader:
    """Reads from a tracking server; see :class:`tlbench.store.mlflow.readers.ExperimentReader`.

    User and password come from the address or from ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``,
    else a bearer token from ``MLFLOW_TRACKING_TOKEN``, as with MLflow's own client.

    Args:
        uri: ``http://...`` or ``https://...``.
    """

    def __init__(self, uri: str) -> None:
        self._server = _Server(uri)

    def suites(self) -> list[str]:
        """Return the names of all experiments.

        Raises:
            UserError: The server cannot be read.
        """
        found = self._server.pages("experiments/search", {"max_results": _PAGE}, "experiments")
        return sorted(str(each["name"]) for each in found)

    def read(self, suite: str) -> StoredExperiment:
        """Return the suite's experiment.

        Raises:
            UserError: There is no such experiment, or the server cannot be read.
        """
        server = self._server
        experiment = self._named(suite)
        if experiment is None:
            raise unknown_suite(suite, server.address, self.suites())
        if _named(experiment).is_deleted:
            raise deleted_suite(suite, server.address)
        runs = []
        for status in STATUSES:
            body = {
                "experiment_ids": [experiment["experiment_id"]],
                "filter": f"attributes.status = '{status}'",
                "run_view_type": "ACTIVE_ONLY",
                "max_results": _PAGE,
                "order_by": ["attributes.start_time ASC"],  # runs that end meanwhile come last, and shift no page
            }
            runs += [_run(item) for item in server.pages("runs/search", body, "runs")]
        tags = _pairs(experiment.get("tags", []))
        unread = add_details(runs, _details_reader(server), _RECORDS, tags)
        return StoredExperiment(tags, tuple(runs), str(experiment["experiment_id"]), unread)

    def presence(self, suite: str) -> Presence | None:
        """Return what there is of a suite, None where no experiment has its name.

        Raises:
            UserError: The server cannot be read.
        """
        experiment = self._named(suite)
        if experiment is None:
            return None
        found = _named(experiment)
        if found.is_deleted:
            return Presence(found)
        body = {"experiment_ids": [found.id], "run_view_type": "ACTIVE_ONLY", "max_results": _PAGE}
        runs = map(_run_of_cell, self._server.pages("runs/search", body, "runs"))
        complete = (run for run in runs if run.cell and run.digest and run.status in STATUSES)
        return Presence(found, _pairs(experiment.get("tags", [])), by_cell(complete))

    def tagged(self, key: str, value: str) -> list[NamedExperiment]:
        """Return the experiments with a tag of this value.

        Raises:
            UserError: The server cannot be read.
        """
        found = self._server.pages("experiments/search", {"max_results": _PAGE}, "experiments")
        return [_named(each) for each in found if _pairs(each.get("tags", [])).get(key) == value]

    def _named(self, suite: str) -> dict[str, Any] | None:
        """Return the experiment of this name as the server tells it, deleted or not; None where there is none."""
        found = self._server.call(f"experiments/get-by-name?experiment_name={quote(suite, safe='')}")
        return None if found is None else dict(found["experiment"])


@contextmanager
def open_server(uri: str) -> Iterator[RestReader]:
    """Name a server to read from; nothing is asked of it yet.

    Args:
        uri: ``http://...`` or ``https://...``.
    """
    yield RestReader(uri)


def _details_reader(server: _Server) -> Callable[[StoredRun], RecordDetails | None]:
    """Return what reads records from a server until it has failed to hand out several in a row."""
    missed = 0

    def read(run: StoredRun) -> RecordDetails | None:
        nonlocal missed
        if missed == _MISSED:
            return None
        found = parse_details(server.record(run.id))
        missed = missed + 1 if found is None else 0
        return found

    return read


def _run(item: dict[str, Any]) -> StoredRun:
    info, data = item["info"], item.get("data", {})
    return StoredRun(
        id=info["run_id"],
        status=info["status"],
        ended=float(info.get("end_time", 0)) / 1000.0,
        artifacts=info.get("artifact_uri", ""),
        params=_pairs(data.get("params", [])),
        tags={key: value for key, value in _pairs(data.get("tags", [])).items() if key.startswith(TAG_PREFIX)},
        metrics={
            str(metric["key"]): float(metric.get("value", 0.0))  # a zero may be left out, NaN comes as text
            for metric in data.get("metrics", [])
            if not metric["key"].startswith(CURVE_PREFIX)
        },
    )


def _named(experiment: dict[str, Any]) -> NamedExperiment:
    is_deleted = experiment.get("lifecycle_stage", "active") != "active"
    return NamedExperiment(str(experiment["experiment_id"]), str(experiment["name"]), is_deleted)


def _run_of_cell(item: dict[str, Any]) -> Run:
    tags = _pairs(item.get("data", {}).get("tags", []))
    cell, digest, writer = (tags.get(key, "") for key in (CELL_TAG, DIGEST_TAG, WRITER_TAG))
    return Run(item["info"]["run_id"], item["info"]["status"], cell, digest, writer)


def _pairs(items: list[dict[str, str]]) -> dict[str, str]:
    return {item["key"]: item.get("value", "") for item in items}
