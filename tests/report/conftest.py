"""The suite ``demo`` in a database of its own, made once."""

from __future__ import annotations

import os

import pytest
from demo_suite import fill


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of the SQLite database."""
    folder = tmp_path_factory.mktemp("mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    fill(uri, folder / "artifacts")
    return uri


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep credentials of the surroundings out of a test."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
