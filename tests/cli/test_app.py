"""The application: its version, its help, and options of all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import looked_suite
import pytest

import tlbench


def test_version_and_help_without_a_command(command: Any) -> None:
    assert command("--version").out == f"{tlbench.__version__}\n"
    said = command()
    assert said.code == 0
    assert all(name in said.out for name in ("list", "check", "plan", "run", "status", "cell", "sync", "report", "ui"))
    told = command("run", "--help").out
    assert "$TLBENCH_WORKSPACE" in told
    assert "--home" not in told


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_of_another_encoding_shows_what_it_can(tlbench: Any, write_suite: Any, encoding: str) -> None:
    settings: dict[str, Any] = {"env": {"PYTHONIOENCODING": encoding}, "encoding": encoding}
    planned = tlbench("plan", str(write_suite(looked_suite.suite())), **settings)
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.count("?" if encoding == "ascii" else "\N{MIDDLE DOT}") > 0
    refused = tlbench("plan", "no\N{MINUS SIGN}such.yaml", **settings)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error no?such.yaml: no such file")
    assert "\x1b" not in planned.stdout + refused.stderr  # no colours where output is no terminal


@pytest.mark.parametrize("option", ["--workspace", "--home"])
def test_the_workspace_may_be_given_by_its_name_of_old(command: Any, file: Any, here: Path, option: str) -> None:
    assert command("plan", file(), option, "elsewhere").code == 0
    assert (here / "elsewhere" / "ledger.sqlite").exists()
    assert not (here / "workspace").exists()
