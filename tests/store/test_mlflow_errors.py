"""MLflow's reason is told whole, and what to do about it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from tlbench.store.mlflow.errors import explain

ADDRESS = "sqlite:////home/ann/mlflow.db"


def test_the_reason_is_told_without_what_surrounds_it() -> None:
    statement = OperationalError("UPDATE runs SET x=?", {"x": 1}, sqlite3.OperationalError("database is locked"))
    around = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if this flush"
    told = explain(RuntimeError(f"{around} is occurring prematurely)\n{statement}"), ADDRESS)
    assert told == (
        "RuntimeError: (sqlite3.OperationalError) database is locked\n"
        "  another program holds the database: close it, or wait until it has finished"
    )


def test_an_older_database_is_told_with_the_command_that_mends_it(tmp_path: Path, empty_database: Path) -> None:
    path = tmp_path / "old.db"
    path.write_bytes(empty_database.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
        connection.commit()
    with pytest.raises(Exception, match="out-of-date") as raised:
        MlflowClient(f"sqlite:///{path}").search_experiments()
    told = explain(raised.value, f"sqlite:///{path}")
    assert "please consult your database's documentation for more detail." in told  # its end, and nothing cut before
    assert "mlflow db upgrade" in told.splitlines()[0]
    assert told.endswith(f"keep a copy of it, then run `mlflow db upgrade 'sqlite:///{path}'`")


@pytest.mark.parametrize("error", [ValueError(), ValueError("first\nsecond"), OSError("[SQL: x]")])
def test_any_other_error_keeps_its_words(error: Exception) -> None:
    assert explain(error, ADDRESS) == f"{type(error).__name__}: {error}".replace("\n", " ").removesuffix(": ")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:9", "connection refused"),
        ("http://nobody.invalid:9", "failed to resolve|name or|temporary"),
    ],
)
def test_a_server_that_is_not_there_is_told_without_the_layers_of_the_transport(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Exception, match="HTTPConnectionPool") as raised:
        MlflowClient(address).get_experiment_by_name("demo")
    told, hint = explain(raised.value, address).splitlines()
    assert re.fullmatch(f"cannot reach the MLflow server: ({reason}).*", told)
    assert hint == "  is it running, and is the address right?"
