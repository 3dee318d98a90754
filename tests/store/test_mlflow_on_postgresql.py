"""Results written to MLflow's tables in a real PostgreSQL database."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from plausible import make_record
from postgresql_server import PASSWORD, PostgreSQL
from test_mlflow_writer import PLAN, assert_once, commit, runs, some, write

from tlbench.core.record import Record
from tlbench.report import results as data
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog
from tlbench.store.mlflow.connection import opening_lock
from tlbench.store.mlflow.tracking_uri import prepare_tracking


def test_a_suite_is_written_read_and_written_again(postgresql: PostgreSQL, tmp_path: Path) -> None:
    uri = prepare_tracking(postgresql.make("suites", "tables"), tmp_path)
    done = some(3)
    commit(tmp_path, [*done, make_record("f", failed=True)])
    assert write(tmp_path, uri) == Backlog(0, "")
    results = data.load("demo", uri)
    assert sorted(results.done["digest"]) == sorted(record.digest for record in done)
    assert [failure.error for failure in results.failed] == ["ValueError: no such thing"]
    assert results.place == f"postgresql://127.0.0.1:{postgresql.port}/suites"
    assert results.planned_settings == PLAN
    assert len(results.details) == 3
    stored = next((tmp_path / "mlartifacts").glob("*/artifacts/record.json"))
    assert Record.model_validate_json(stored.read_text()).cell.dataset == "digits"

    commit(tmp_path, [make_record("f"), make_record(done[1].id, accuracy=0.9)])  # one mended, one forced
    assert write(tmp_path, uri) == Backlog(0, "")
    assert_once(runs(uri), [done[0], done[2], make_record("f"), make_record(done[1].id, accuracy=0.9)])


def test_a_server_that_goes_delays_nothing_and_loses_nothing(postgresql: PostgreSQL, tmp_path: Path) -> None:
    uri = prepare_tracking(postgresql.make("gone", "tables"), tmp_path)
    records = some(4)
    commit(tmp_path, records[:2])
    assert write(tmp_path, uri) == Backlog(0, "")
    postgresql.stop()
    try:
        commit(tmp_path, records[2:])
        writer = BackgroundWriter(tmp_path / "ledger", uri, tmp_path, "demo")
        writer.start()
        began = time.monotonic()
        backlog = writer.close(30)
        assert time.monotonic() - began < 10  # MLflow by itself tries for a minute
    finally:
        postgresql.start()
    assert backlog.count == 2
    assert "Connection refused" in backlog.error
    assert f"postgresql://127.0.0.1:{postgresql.port}/gone" in backlog.error
    assert PASSWORD not in backlog.error
    assert uri not in backlog.error
    assert write(tmp_path, uri) == Backlog(0, "")
    assert_once(runs(uri), records)


def test_a_wrong_password_is_told_and_not_shown(postgresql: PostgreSQL, tmp_path: Path) -> None:
    commit(tmp_path, some(1))
    backlog = write(tmp_path, prepare_tracking(postgresql.uri("tables", password="wrong/pass"), tmp_path))
    assert backlog.count == 1
    assert "authentication failed" in backlog.error
    assert "wrong" not in backlog.error
    assert os.environ["PGCONNECT_TIMEOUT"] == "30"


def test_one_at_a_time_opens_a_database(postgresql: PostgreSQL, tmp_path: Path) -> None:
    """Two workspaces, as of two machines, which share no file."""
    uri = postgresql.make("fresh")
    order: list[str] = []

    def second() -> None:
        with opening_lock(uri, tmp_path / "b"):
            order.append("second")

    with opening_lock(uri, tmp_path / "a"):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.5)
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]
