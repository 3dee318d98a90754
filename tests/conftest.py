"""Shared by all tests: one thread each, one artifact folder for decoded data, the command line as a user runs it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from postgresql_server import PostgreSQL, programs

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray reads these when it is imported: one in this very process stays on the loopback address and wants a token.
os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of artifacts for the whole session, so that no dataset is decoded twice."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, with MLflow's tables in the database ``tables``."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: the extra postgres has it")
    installed = programs()
    if installed is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(Path(folder), installed)
        try:
            server.start()
            MlflowClient(server.make("tables")).search_experiments(max_results=1)
            yield server
        finally:
            server.stop()


@pytest.fixture
def environment(tmp_path: Path, decoded: Path) -> dict[str, str]:
    """The environment of a user with a workspace of their own and the session's decoded data."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "RAY_", "TLBENCH_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {
        "TLBENCH_WORKSPACE": str(tmp_path / "workspace"),
        "TLBENCH_ARTIFACTS": str(decoded),
        "COLUMNS": "200",
    }


@pytest.fixture
def tlbench(tmp_path: Path, environment: dict[str, str]) -> Tool:
    """Run ``tlbench ARGS`` in a process and a folder of its own."""

    def run(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tlbench", *args]
        env = environment | more.pop("env", {})
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, **more)

    return run


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write a suite file; JSON is YAML."""

    def write(suite: dict[str, Any]) -> Path:
        path = tmp_path / f"{suite['name']}.yaml"
        path.write_text(json.dumps(suite, indent=1))
        return path

    return write
