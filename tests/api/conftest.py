"""A suite as a dictionary, and the folder and workspace in which a program uses it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, decoded: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a program runs in, with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("TLBENCH_WORKSPACE", "TLBENCH_ARTIFACTS"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
