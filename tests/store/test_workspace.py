"""Where the workspace is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.store.workspace import Workspace


def test_the_workspace_s_variable_of_old_counts_without_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("TLBENCH_HOME", str(tmp_path / "old"))
    assert Workspace.at(None).root == tmp_path / "workspace"
    monkeypatch.delenv("TLBENCH_WORKSPACE")
    assert Workspace.at(None).root == tmp_path / "old"
    assert Workspace.at(tmp_path / "given").root == tmp_path / "given"
