"""A report of MLflow's tables in a real PostgreSQL database: what it reads, and what it says where it cannot."""

from __future__ import annotations

import dataclasses
import socket

import pandas as pd
import pytest
from postgresql_server import PASSWORD, PostgreSQL
from sqlalchemy import MetaData, create_engine, insert, select, text

from tlbench.core.errors import UserError
from tlbench.report import results as data
from tlbench.store.mlflow.read_postgresql import open_postgresql


@pytest.fixture(scope="module")
def demo(postgresql: PostgreSQL, store: str) -> str:
    """The address of a database that holds what the SQLite file does, row for row."""
    uri = postgresql.make("demo", "tables")
    tables = MetaData()
    with create_engine(store).connect() as file, create_engine(uri).begin() as link:
        tables.reflect(file, only=["experiments", "experiment_tags", "runs", "params", "tags", "latest_metrics"])
        link.execute(text("DELETE FROM experiments"))
        for table in tables.sorted_tables:
            rows = [dict(row) for row in file.execute(select(table)).mappings()]
            if rows:
                link.execute(insert(table), rows)
    return uri


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_database_and_file_tell_the_same(demo: str, store: str, scheme: str) -> None:
    by_server = data.load("demo", demo.replace("postgresql", scheme, 1))
    by_file = data.load("demo", store)
    frames = ("done", "trials", "untuned")
    for name in ("done", "untuned"):
        own = [getattr(each, name).sort_values("run_id", ignore_index=True) for each in (by_server, by_file)]
        pd.testing.assert_frame_equal(*own)
    same = [each.name for each in dataclasses.fields(data.Results) if each.name not in (*frames, "place")]
    assert [getattr(by_server, name) for name in same] == [getattr(by_file, name) for name in same]
    assert data.suites(demo) == data.suites(store)
    assert PASSWORD not in by_server.place
    assert "ann" not in by_server.place


def test_what_is_read_is_of_one_moment_and_nothing_can_be_written(demo: str) -> None:
    with open_postgresql(demo) as reader:
        before = reader.suites()
        with create_engine(demo).begin() as link:
            link.execute(text("UPDATE experiments SET name = name || ' renamed'"))
        assert reader.suites() == before
    assert data.suites(demo) == [f"{name} renamed" for name in before]
    with (
        pytest.raises(UserError, match="in a read-only transaction"),
        open_postgresql(demo) as reader,
    ):
        list(reader.database.rows("SELECT nextval(pg_get_serial_sequence('experiments', 'experiment_id'))"))
    with create_engine(demo).begin() as link:
        link.execute(text("UPDATE experiments SET name = replace(name, ' renamed', '')"))


def refused(uri: str, suite: str = "demo") -> str:
    with pytest.raises(UserError) as error:
        data.load(suite, uri)
    assert PASSWORD not in str(error.value)
    assert uri not in str(error.value)
    return str(error.value)


def test_what_cannot_be_read_is_a_sentence(demo: str, postgresql: PostgreSQL) -> None:
    assert "did you mean 'demo'" in refused(demo, "demos")
    assert "'demos' in postgresql://127.0.0.1" in refused(demo, "demos")
    assert "createdb" in refused(postgresql.uri("nowhere"))
    assert "PGPASSWORD" in refused(postgresql.uri("demo", password="open"))
    assert "cannot be read as an MLflow database" in refused(postgresql.make("other"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "is it running" in refused(f"postgresql://ann:sesame@127.0.0.1:{port}/demo")


def test_the_password_may_come_from_the_environment(demo: str, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGUSER", "ann")
    place = data.load("demo", demo).place
    assert len(data.load("demo", place).done) == len(data.load("demo", store).done)
