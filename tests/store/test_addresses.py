"""Addresses are shown without user and password, however these are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.core.errors import UserError
from tlbench.store import postgresql
from tlbench.store.addresses import for_pages, redacted, without_credentials
from tlbench.store.mlflow.tracking_uri import prepare_tracking, sqlite_path


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://ann:s%40me@db.example:5432/runs", "postgresql://db.example:5432/runs"),
        ("postgresql+psycopg://ann@db/runs?sslmode=require", "postgresql+psycopg://db/runs?sslmode=require"),
        ("postgresql://ann:se/s?me#1@db/runs", "postgresql://db/runs"),  # signs that end a host in other addresses
        ("postgresql://ann:se@same@db/runs", "postgresql://db/runs"),
        ("postgresql:///runs?host=/run&user=ann&password=sesame", "postgresql:///runs?host=/run"),
        ("postgresql://db/runs?password=sesame", "postgresql://db/runs"),
        ("postgresql://db/runs?options=a@b", "postgresql://db/runs?options=a@b"),
        ("mysql+pymysql://ann:sesame@db/runs", "mysql+pymysql://db/runs"),
        ("http://ann:sesame@host:5000/x", "http://host:5000/x"),
        ("https://host/@team/x", "https://host/@team/x"),
        ("sqlite:////home/ann@box/mlflow.db", "sqlite:////home/ann@box/mlflow.db"),
        ("runs", "runs"),
    ],
)
def test_an_address_is_shown_without_user_and_password(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown


def test_a_page_tells_no_more_of_a_file_than_its_folder_and_name() -> None:
    assert for_pages("sqlite:////home/ann/study/.tlbench/mlflow.db") == ".tlbench/mlflow.db"
    assert for_pages("sqlite:///mlflow.db") == "mlflow.db"
    assert for_pages("http://ann:sesame@host/x") == "http://host/x"


def test_a_message_is_shown_without_the_password_in_any_form() -> None:
    uri = "postgresql://ann:s%40me@db/runs?sslpassword=hush"
    said = f"cannot reach {uri}: 's@me' (s%40me) is wrong, so is hush"
    assert redacted(said, uri) == "cannot reach postgresql://db/runs: '***' (***) is wrong, so is ***"
    assert redacted("db is down", "http://db") == "db is down"


@pytest.mark.parametrize(
    "uri", ["postgres://ann:sesame@db/x", "postgresql://ann:se@same@db/x", "postgresql+asyncpg://ann:sesame@db/x"]
)
def test_a_wrong_address_is_refused_before_anything_runs(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no address of a database") as refused:
        prepare_tracking(uri, tmp_path)
    assert "same" not in str(refused.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package psycopg\n  pip install 'tlbench\[postgres\]'"):
        postgresql.address("postgresql://ann:sesame@db/x")
    with pytest.raises(UserError, match="psycopg2-binary"):
        postgresql.address("postgresql+psycopg2://ann:sesame@db/x")


@pytest.mark.parametrize("name", ["exp%20one", "what?now", "a#b", "two words", "100%", "a%2Fb"])
def test_the_address_of_a_workspace_names_its_own_file_whatever_signs_its_path_has(tmp_path: Path, name: str) -> None:
    from sqlalchemy.engine import make_url

    uri = prepare_tracking(None, tmp_path / name)
    assert make_url(uri).database == f"{tmp_path / name}/mlflow.db"  # what MLflow opens
    assert sqlite_path(uri) == tmp_path / name / "mlflow.db"
    assert prepare_tracking(uri, tmp_path) == uri
    assert for_pages(uri) == f"{name}/mlflow.db"


def test_an_address_of_the_user_is_read_as_mlflow_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prepare_tracking("sqlite:///~/x.db", tmp_path) == f"sqlite:///{tmp_path}/x.db"
    assert prepare_tracking("sqlite:///$HOME/x.db?timeout=5", tmp_path) == f"sqlite:///{tmp_path}/x.db?timeout=5"
    assert sqlite_path("sqlite:////a%20b/x.db?timeout=5") == Path("/a b/x.db")
