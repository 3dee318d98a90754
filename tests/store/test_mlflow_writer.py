from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from plausible import STARTED, make_record
from tracking_server import Server

from tlbench.core.errors import UserError
from tlbench.core.not_applicable import NotApplicable
from tlbench.core.planned_setting import PlannedSetting
from tlbench.core.record import Record
from tlbench.report import results as data
from tlbench.store.addresses import without_credentials
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog
from tlbench.store.mlflow.sync import sync
from tlbench.store.mlflow.tracking_uri import prepare_tracking

PLAN = (PlannedSetting("classification", "{}", "linear_probe", "conv4/random", "digits", "5", (0, 1, 2, 3)),)
TAGS = layout.experiment_tags("linear_probe", "name: demo\n", 4, [NotApplicable(2, "no sense", "x | y")], PLAN)


CLAIMED: dict[tuple[Path, str], dict[str, None]] = {}


def commit(workspace: Path, records: list[Record], suite: str = "demo") -> None:
    """Commit records of a suite that has them besides those committed before."""
    workspace.mkdir(exist_ok=True)
    claimed = CLAIMED.setdefault((workspace, suite), {})
    claimed.update(dict.fromkeys(record.id for record in records))
    with Ledger(workspace / "ledger") as ledger:
        ids = [record.id for record in records]
        ledger.claim(suite, claimed, TAGS)
        ledger.forget(ids)
        attempts = ledger.lease(ids, "me", 60)
        assert all(ledger.commit_many([(record, attempts[record.id]) for record in records]))


def some(count: int, **facts: Any) -> list[Record]:
    return [make_record(f"{number:020x}", **facts) for number in range(count)]


def write(workspace: Path, uri: str, suite: str = "demo") -> Backlog:
    writer = BackgroundWriter(workspace / "ledger", uri, workspace, suite)
    writer.start()
    return writer.close(30)


def runs(uri: str, suite: str = "demo") -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(suite)
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def assert_once(found: list[Any], records: list[Record]) -> None:
    assert sorted(run.data.tags[layout.DIGEST_TAG] for run in found) == sorted(record.digest for record in records)
    assert {run.info.status for run in found} == {"FINISHED"}


def test_a_suite_stands_in_mlflow_as_the_report_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    workspace = tmp_path / "workspace"
    done = some(3)
    commit(workspace, [*done, make_record("f", failed=True)])
    uri = prepare_tracking(None, workspace)
    assert uri == f"sqlite:///{workspace / 'mlflow.db'}"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert write(workspace, uri) == Backlog(0, "")

    results = data.load("demo", uri)
    assert sorted(results.done["digest"]) == sorted(record.digest for record in done)
    assert list(results.done["test/accuracy"]) == [0.8] * 3
    assert [failure.error for failure in results.failed] == ["ValueError: no such thing"]
    assert (results.planned, results.baseline, results.suite_text) == (4, "linear_probe", "name: demo\n")
    assert (results.not_applicable[0].count, results.notes) == (2, ())
    assert results.planned_settings == PLAN

    (run,) = (run for run in runs(uri) if run.data.tags[layout.CELL_TAG] == done[0].id)
    assert (run.info.start_time, run.info.end_time) == (1000 * STARTED, 1000 * STARTED + 3500)
    assert run.info.run_name == done[0].cell.label
    assert run.data.params == layout.params(done[0])
    assert run.data.metrics["curve/train_loss"] == pytest.approx(1 / 5)
    stored = workspace / "mlartifacts" / run.info.run_id / "artifacts" / "record.json"
    assert Record.model_validate_json(stored.read_text()) == done[0]

    link = sqlite3.connect(workspace / "mlflow.db")
    assert link.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert link.execute("SELECT count(*) FROM sqlite_stat1").fetchone()[0] > 0
    assert list((tmp_path / "elsewhere").iterdir()) == []

    commit(workspace, [make_record("f"), make_record(done[1].id, accuracy=0.9)])  # one mended, one forced
    assert write(workspace, uri) == Backlog(0, "")
    assert_once(runs(uri), [done[0], done[2], make_record("f"), make_record(done[1].id, accuracy=0.9)])
    other = f"sqlite:///{tmp_path / 'other.db'}"
    with Ledger(workspace / "ledger") as ledger:  # as if everything had been in a file that is lost
        state = ledger.tracking_state("demo", other)
        state.mark_written(state.missing())
    mended = "the experiment 'demo' was gone from MLflow, and has been made anew with 4 results"
    assert sync(workspace / "ledger", other, workspace) == {"demo": Backlog(0, "", mended)}
    assert len(data.load("demo", other).done) == 4


def write_and_exit(workspace: Path, uri: str) -> None:
    sys.exit(0 if write(workspace, prepare_tracking(uri, workspace)) == Backlog(0, "") else 1)


def test_drivers_that_open_a_new_database_at_once_write_each_cell_once(tmp_path: Path) -> None:
    uri, records = f"sqlite:///{tmp_path / 'team.db'}", some(8)
    workspaces = [tmp_path / name for name in "abcd"]
    for workspace in workspaces:
        commit(workspace, records)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store"])  # imported once for all
    drivers = [context.Process(target=write_and_exit, args=(workspace, uri)) for workspace in workspaces]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(120)
    assert [driver.exitcode for driver in drivers] == [0] * 4
    assert_once(runs(uri), records)


def test_two_writers_on_one_ledger_share_the_work(tmp_path: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    records, uri = some(30), prepare_tracking(None, tmp_path)
    commit(tmp_path, records[:10])
    writers = [BackgroundWriter(tmp_path / "ledger", uri, tmp_path, "demo") for _ in range(2)]
    for writer in writers:
        writer.start()
    commit(tmp_path, records[10:])
    for writer in writers:
        writer.notify()
    assert [writer.close(30) for writer in writers] == [Backlog(0, ""), Backlog(0, "")]
    assert_once(runs(uri), records)


def test_different_results_of_one_cell_are_shown_and_neither_is_lost(tmp_path: Path, empty_database: Path) -> None:
    uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'team.db')}"
    commit(tmp_path / "a", some(2))
    commit(tmp_path / "b", [make_record(some(1)[0].id, accuracy=0.5), make_record("new")])
    assert write(tmp_path / "a", prepare_tracking(uri, tmp_path / "a")) == Backlog(0, "")
    backlog = write(tmp_path / "b", uri)
    assert backlog.count == 1
    assert "MLflow has another result" in backlog.error
    assert_once(runs(uri), [*some(2), make_record("new")])


def test_an_experiment_that_others_deleted_is_an_error_with_a_way_out(tmp_path: Path, empty_database: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'team.db')}"
    commit(tmp_path / "theirs", some(1))
    write(tmp_path / "theirs", prepare_tracking(uri, tmp_path / "theirs"))
    client = MlflowClient(uri)
    client.delete_experiment(client.get_experiment_by_name("demo").experiment_id)
    commit(tmp_path / "ours", [make_record("more")])
    backlog = write(tmp_path / "ours", uri)
    assert backlog.count == 1
    assert "the experiment 'demo' was deleted" in backlog.error
    assert "restore" in backlog.error


class Proxy:
    """Hands requests on to the server. ``decide`` sees each one before and its answer after; False cuts the line."""

    def __init__(self, port: int, decide: Callable[[str, str], bool]) -> None:
        def handle(request: BaseHTTPRequestHandler) -> None:
            body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
            request.close_connection = True
            if not decide(request.path, "asked"):
                return
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                line.request(request.command, request.path, body, dict(request.headers))
                answer = line.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                return
            if decide(request.path, "answered"):
                request.send_response(answer.status)
                request.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                request.send_header("Content-Length", str(len(content)))
                request.end_headers()
                request.wfile.write(content)

        methods = {f"do_{method}": handle for method in ("GET", "POST", "PUT", "PATCH", "DELETE")}
        quiet: dict[str, Any] = {"log_message": lambda *args: None}
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), methods | quiet))
        self.uri = f"http://127.0.0.1:{self.http.server_address[1]}"


@contextmanager
def proxy(server: Server, decide: Callable[[str, str], bool]) -> Iterator[str]:
    between = Proxy(server.port, decide)
    threading.Thread(target=between.http.serve_forever, daemon=True).start()
    try:
        yield between.uri
    finally:
        between.http.shutdown()
        between.http.server_close()


def test_a_lost_answer_makes_no_second_run(server: Server, tmp_path: Path) -> None:
    lost = []

    def lose(path: str, when: str) -> bool:
        wanted = ("experiments/create", "runs/create", "runs/update")
        kind = next((kind for kind in wanted if path.endswith(kind)), None)
        if when == "asked" or kind is None or kind in lost:
            return True
        lost.append(kind)
        return False

    records = some(3)
    commit(tmp_path, records, "lost")
    with proxy(server, lose) as uri:
        assert write(tmp_path, prepare_tracking(uri, tmp_path), "lost") == Backlog(0, "")
    assert sorted(lost) == ["experiments/create", "runs/create", "runs/update"]
    assert_once(runs(server.uri, "lost"), records)
    results = data.load("lost", server.uri)
    assert (len(results.done), results.notes) == (3, ())
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    assert [item.path for item in client.list_artifacts(runs(server.uri, "lost")[0].info.run_id)] == ["record.json"]


def test_a_server_killed_in_the_middle_delays_nothing_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    batches = 0

    def kill(path: str, when: str) -> bool:
        nonlocal batches
        if when == "asked" and path.endswith("runs/log-batch"):
            batches += 1
            if batches == 5:
                server.kill()
        return True

    records = some(8)
    commit(tmp_path, records[:6], "killed")
    with proxy(server, kill) as uri:
        prepare_tracking(uri, tmp_path)
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        writer = BackgroundWriter(tmp_path / "ledger", uri, tmp_path, "killed")
        writer.start()
        deadline = time.monotonic() + 30
        while batches < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        commit(tmp_path, records[6:], "killed")
        writer.notify()
        assert time.monotonic() - began < 1.0
        backlog = writer.close(20)
        assert backlog.count == 8
        assert uri in backlog.error
        server.start()
        assert {run.info.status for run in runs(server.uri, "killed")} == {"FINISHED", "RUNNING"}
        # The same store under another name: this ledger's own orphan is found there all the same.
        assert sync(tmp_path / "ledger", server.uri, tmp_path) == {"killed": Backlog(0, "")}
        assert_once(runs(server.uri, "killed"), records)
        assert sync(tmp_path / "ledger", uri, tmp_path) == {"killed": Backlog(0, "")}
    assert_once(runs(server.uri, "killed"), records)


def test_a_server_that_never_answers_holds_nobody_up(tmp_path: Path, empty_database: Path) -> None:
    records = some(5)
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(50)
        uri = prepare_tracking(f"http://someone:secret@127.0.0.1:{hole.getsockname()[1]}", tmp_path)
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "3"
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        commit(tmp_path, records[:1])
        writer = BackgroundWriter(tmp_path / "ledger", uri, tmp_path, "demo")
        writer.start()
        slowest = 0.0
        for record in records[1:]:
            began = time.monotonic()
            commit(tmp_path, [record])
            writer.notify()
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.2)
        assert slowest < 1.0
        began = time.monotonic()
        backlog = writer.close(1.0)
        assert time.monotonic() - began < 3.0
    assert backlog.count == 5
    assert backlog.error
    assert "secret" not in backlog.error
    local = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'local.db')}"
    assert sync(tmp_path / "ledger", local, tmp_path) == {"demo": Backlog(0, "")}
    assert_once(runs(local), records)


@pytest.mark.parametrize("name", ["exp%20one", "what?now#1"])
def test_a_workspace_with_signs_of_addresses_in_its_path_keeps_all_in_itself(tmp_path: Path, name: str) -> None:
    from tlbench.report.results import load

    workspace, records = tmp_path / name, some(2)
    commit(workspace, records)
    uri = prepare_tracking(None, workspace)
    assert write(workspace, uri) == Backlog(0, "")
    assert_once(runs(uri), records)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (workspace / "mlflow.db").is_file()
    assert len(list((workspace / "mlartifacts").rglob(layout.ARTIFACT))) == 2
    results = load("demo", uri)
    assert (len(results.done), len(results.details), results.unread) == (2, 2, 0)


def test_where_results_go_is_the_users_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare_tracking("sqlite:///own.db", tmp_path / "workspace") == f"sqlite:///{tmp_path / 'own.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = "http://user:word@host:5000"
    assert prepare_tracking(None, tmp_path) == "http://user:word@host:5000"
    assert without_credentials("http://user:word@host:5000/x") == "http://host:5000/x"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "7"
    prepare_tracking(None, tmp_path)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    with pytest.raises(UserError, match=r"plain folders\n  give sqlite:///mlruns\.db"):
        prepare_tracking("mlruns", tmp_path)
    (tmp_path / "text.db").write_text("no database, but more than a few bytes of it" * 50)
    with pytest.raises(UserError, match=r"text\.db: file is not a database"):
        prepare_tracking("sqlite:///text.db", tmp_path)


def test_cells_and_ledger_never_touch_mlflow() -> None:
    code = """
import sys
sys.modules["mlflow"] = None  # any import of it fails
import tlbench.worker.run_cell, tlbench.report.results
import tlbench.store.ledger, tlbench.store.mlflow.sync, tlbench.store.mlflow.experiment
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_a_finished_suite_it_is_said_that_nobody_could_be_asked(tmp_path: Path) -> None:
    uri = "http://127.0.0.1:1"  # nobody listens
    commit(tmp_path, some(2))
    with Ledger(tmp_path / "ledger") as ledger:
        state = ledger.tracking_state("demo", uri)
        state.mark_written(state.missing())
        state.mark_tagged(json.dumps(TAGS, sort_keys=True, separators=(",", ":")))
    backlog = write(tmp_path, uri)
    assert (backlog.count, backlog.mended) == (0, "")
    assert backlog.error.startswith(f"{uri}: cannot reach the MLflow server: ")
