from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking_server import Server


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without rows; making them takes seconds, copying them none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), empty_database)
    running.start()
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def _plain_environment() -> Iterator[None]:
    """Let no setting of the developer's shell reach MLflow, and none that a test makes outlive it."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"  # a test need not wait between retries
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_JITTER"] = "0.0"
    yield
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(before)
