"""What is read from MLflow: from its SQLite file and through a real tracking server, with the same result."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from demo_suite import BONUS, BOOM, FOLLY, LEVEL, SEEDS, TRACEBACK, accuracy, plan

from tlbench.core.errors import UserError
from tlbench.core.record import Cost, Footprint, Outcome, Record
from tlbench.report import results as data
from tlbench.store.mlflow import read_rest as from_rest
from tlbench.store.mlflow import read_sql as from_sql
from tlbench.store.mlflow import schema as mlflow_layout


def test_every_finished_cell_is_there_once(store: str) -> None:
    results = data.load("demo", store)
    done = results.done
    assert len(done) == len(LEVEL) * len(BONUS) * len(SEEDS) - 1 + 3
    assert done["cell"].is_unique
    for row in done[done["protocol"] == "classification"].itertuples():
        made = accuracy(row.method_label, row.dataset, row.shots, row.seed)
        assert done.loc[row.Index, "test/accuracy"] == made


def test_facts_of_the_experiment(store: str) -> None:
    results = data.load("demo", store)
    assert (results.baseline, results.planned) == ("linear_probe", 55)
    assert results.planned_settings == tuple(plan())
    assert sum(len(setting.seeds) for setting in plan()) == 55
    assert results.not_applicable == (data.NotApplicable(6, "needs <b>episodes</b>", "maml | classification"),)
    assert results.suite_text.startswith("name: demo")
    assert results.provenance == {"commit": {"abc123": 50}, "torch": {"2.15.0": 50}}


def test_what_is_transductive_is_known_by_its_tag(store: str) -> None:
    done = data.load("demo", store).done
    assert set(done.loc[done["transductive"].astype(bool), "cell"]) == {"maml-0"}


def test_nan_is_nan_and_curves_stay_out(store: str) -> None:
    done = data.load("demo", store).done
    first = done[(done["seed"] == 0) & (done["protocol"] == "classification")]
    later = done[(done["seed"] > 0) & (done["protocol"] == "classification")]
    assert (first["test/nll"] == 1.0).all()
    assert later["test/nll"].isna().all()
    assert not [column for column in done.columns if column.startswith("curve/")]


def test_running_deleted_and_foreign_runs_do_not_count(store: str) -> None:
    results = data.load("demo", store)
    assert not {"orphan", "deleted"} & set(results.done["cell"])
    assert any("digest: 1" in note for note in results.notes)


def test_of_two_results_the_smallest_run_id_counts(store: str) -> None:
    path = store.removeprefix("sqlite:///")
    with sqlite3.connect(path) as link:
        query = "SELECT run_uuid FROM tags WHERE key = 'tlbench.cell' AND value = 'line-digits-1-1'"
        twins = sorted(run for (run,) in link.execute(query))
    done = data.load("demo", store).done
    assert len(twins) == 2
    assert list(done.loc[done["cell"] == "line-digits-1-1", "run_id"]) == twins[:1]


def test_a_failure_counts_until_the_cell_succeeds(store: str) -> None:
    (failure,) = data.load("demo", store).failed
    assert failure.cell == "patc-glyphs-full-2"
    assert failure.error == BOOM
    assert failure.traceback == TRACEBACK
    assert "patchy | resnet18/random | glyphs" in failure.what


def test_results_that_differ_are_reported() -> None:
    told = dict.fromkeys(data.TEXTS, "x") | {"seed": "0"}
    runs = tuple(
        data.StoredRun(name, "FINISHED", 1.0, told, {"tlbench.cell": "c", "tlbench.digest": digest}, {})
        for name, digest in (("b", "1"), ("a", "2"))
    )
    results = data.tidy("s", "p", data.StoredExperiment({}, runs))
    assert list(results.done["run_id"]) == ["a"]
    assert "differ" in results.notes[0]
    assert results.planned is None


def test_a_record_comes_back_as_it_was_stored() -> None:
    """The writer's side of the layout and the reader's side agree."""
    cell = {
        "id": "c1", "protocol": "episodic", "protocol_version": 1, "options": {"ways": 5, "episodes": 600},
        "method": "lora", "method_label": "lora(rank=4)", "params": {"rank": 4, "lr": 0.1}, "backbone": "conv4",
        "backbone_label": "conv4/random", "weights": "random", "backbone_key": "k", "recipe": {}, "dataset": "digits",
        "dataset_fingerprint": "ff", "shots": "full", "seed": 3,
    }  # fmt: skip
    record = Record(
        cell=cell,
        status="done",
        outcome=Outcome(
            scores={"accuracy": 0.5, "nll": float("1e3")}, footprint=Footprint(trainable=1, total=2, stored_bytes=3)
        ),
        cost=Cost(seconds=2.5, train_seconds=1, cpu_seconds=1, peak_memory=7, gpus=0, cpus=1, started=100.0),
        provenance={"torch": "2.15", "threads": 1},
    )
    run = data.StoredRun(
        "r1",
        "FINISHED",
        mlflow_layout.times(record)[1] / 1000,
        mlflow_layout.params(record),
        mlflow_layout.tags(record),
        {point.key: point.value for point in mlflow_layout.metrics(record)},
    )
    tags = mlflow_layout.experiment_tags("lora", "name: s", 9, [data.NotApplicable(2, "r", "w")])
    results = data.tidy("s", "p", data.StoredExperiment(tags, (run,)))
    row = results.done.iloc[0]
    assert (row["cell"], row["shots"], row["seed"], row["ended"]) == ("c1", "full", 3, 102.5)
    assert (row["options"], row["params"]) == ('{"episodes":"600","ways":"5"}', '{"lr":"0.1","rank":"4"}')
    assert (row["test/accuracy"], row["test/nll"], row["footprint/stored_bytes"]) == (0.5, 1000.0, 3.0)
    assert (row["cost/seconds"], row["cost/peak_memory"]) == (2.5, 7.0)
    assert (results.baseline, results.planned, results.suite_text) == ("lora", 9, "name: s")
    assert results.not_applicable == (data.NotApplicable(2, "r", "w"),)
    assert results.provenance == {"threads": {"1": 1}, "torch": {"2.15": 1}}


def test_unknown_suite_names_the_nearest(store: str) -> None:
    with pytest.raises(UserError, match=r"'demos'.*\n.*did you mean 'demo'"):
        data.load("demos", store)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        data.load("demo", f"sqlite:///{tmp_path}/none.db")
    (tmp_path / "text.db").write_text("this is not a database, and long enough to be read as one " * 20)
    with pytest.raises(UserError, match="cannot be read as an MLflow database"):
        data.load("demo", f"sqlite:///{tmp_path}/text.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(UserError, match="no such table"):
        data.load("demo", f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(UserError, match="not 'mysql'"):
        data.load("demo", "mysql://somewhere/mlflow")


def test_reading_writes_nothing(store: str) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    before = path.read_bytes()
    data.load("demo", store)
    assert path.read_bytes() == before


def test_records_left_unread_are_counted_and_those_first_read_are_what_is_shown_first(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.load("demo", store)
    assert whole.unread == 0
    monkeypatch.setattr(from_sql, "_RECORDS", 25)
    cut = data.load("demo", store)
    assert cut.unread == len(whole.done) + 3 - 25  # a cell that failed, one that did at first, and a twin
    assert cut.failed[0].traceback == TRACEBACK
    rows = cut.done[cut.done["cell"].isin(cut.details)]["method_label"].value_counts().to_dict()
    assert rows["linear_probe"] >= 11  # all of the baseline; its twin has none, and may be the one that counts
    assert rows["patchy"] > 0  # the best mean of those that have records
    assert FOLLY not in rows
    assert data.join([cut, whole]).unread == cut.unread


def test_report_imports_neither_mlflow_nor_torch_nor_ray(store: str) -> None:
    code = (
        "import sys; from tlbench.report import report_data; report_data.read_report('demo', sys.argv[1]);"
        "print([name for name in ('mlflow', 'torch', 'ray') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def server(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real tracking server on the same database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1"]
    with (tmp_path_factory.mktemp("server") / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"], stdout=log, stderr=log, env=environment
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{address}/health", process)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


_FRAMES = ("done", "place", "trials", "untuned")


@pytest.mark.usefixtures("no_credentials")
def test_server_and_file_tell_the_same(server: str, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_rest, "_PAGE", 20)  # three pages
    over_http, from_file = data.load("demo", server), data.load("demo", store)
    pd.testing.assert_frame_equal(
        over_http.done.sort_values("run_id", ignore_index=True), from_file.done.sort_values("run_id", ignore_index=True)
    )
    same = [field.name for field in dataclasses.fields(data.Results) if field.name not in _FRAMES]
    assert [getattr(over_http, name) for name in same] == [getattr(from_file, name) for name in same]
    assert (
        len(from_file.details) >= len(LEVEL) * len(BONUS) * len(SEEDS) - 2
    )  # not the failed one's, nor maybe a twin's
    with pytest.raises(UserError, match=r"'fewshott'.*\n.*did you mean 'fewshot'"):
        data.load("fewshott", server)


@pytest.mark.usefixtures("no_credentials")
def test_all_suites_are_found_on_a_server_and_in_a_file(server: str, store: str) -> None:
    assert set(data.suites(server)) == set(data.suites(store)) >= {"demo", "fewshot"}
    assert data.load_several([], store).suite == "demo"  # the other one has no results
    with pytest.raises(UserError, match="did you mean 'fewshot'"):
        data.load_several(["demo", "fewshots"], store)


@pytest.mark.usefixtures("no_credentials")
def test_server_down_is_a_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match="cannot reach the MLflow server"):
        data.load("demo", address)


class _Gate(BaseHTTPRequestHandler):
    """Notes who asks, and answers as it is told."""

    asked: list[tuple[str, str | None]]
    status: int
    answer: Any

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(json.dumps(self.answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def gate() -> Iterator[tuple[str, type[_Gate]]]:
    """A server that refuses everything with 401 until told otherwise, and what it was asked."""
    handler = type("Gate", (_Gate,), {"asked": [], "status": 401, "answer": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{service.server_address[1]}", handler
        service.shutdown()


@pytest.mark.usefixtures("no_credentials")
def test_credentials_are_sent_and_never_shown(gate: tuple[str, type[_Gate]], monkeypatch: pytest.MonkeyPatch) -> None:
    place, handler = gate
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
    with pytest.raises(UserError, match="401"):
        data.load("demo", f"http://{place}")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s:t")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_USERNAME"):
        data.load("demo", f"http://{place}")
    with pytest.raises(UserError) as refused:
        data.load("demo", f"http://bob:p%40ss@{place}/base/")
    said = [sent for _, sent in handler.asked]
    basic = [f"Basic {base64.b64encode(pair).decode()}" for pair in (b"ann:s:t", b"bob:p@ss")]
    assert said == ["Bearer sesame", *basic]
    assert handler.asked[-1][0].startswith("/base/api/2.0/mlflow/experiments/get-by-name")
    assert "p%40ss" not in str(refused.value)
    assert "bob" not in str(refused.value)


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize(("status", "message"), [(302, "final address"), (500, "own log"), (200, "another form")])
def test_a_server_that_is_no_mlflow(gate: tuple[str, type[_Gate]], status: int, message: str) -> None:
    place, handler = gate
    handler.status = status
    handler.answer = ["not", "a", "mapping"]
    with pytest.raises(UserError, match=message):
        data.load("demo", f"http://{place}")
    assert len(handler.asked) == 1  # nothing was followed
