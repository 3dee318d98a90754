"""Addresses are shown without user and password, however these are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.core.errors import UserError
from tlbench.store import postgresql
from tlbench.store.addresses import for_pages, redacted, without_credentials
from tlbench.store.mlflow.tracking_uri import prepare_tracking


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
