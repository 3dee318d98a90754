"""The command line inside the test's own process: what a user sees, without the seconds that each start costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from looked_suite import suite

from tlbench import cli


class Said(NamedTuple):
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def here(tmp_path: Path, decoded: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in, with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("TLBENCH_WORKSPACE", "TLBENCH_ARTIFACTS", "COLUMNS"):
        monkeypatch.setenv(name, environment[name])
    for name in ("MLFLOW_TRACKING_URI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def command(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``tlbench ARGS`` in this process; an exception that the command lets through goes through here too."""

    def run(*args: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["tlbench", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Said(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def file(here: Path) -> Callable[..., Path]:
    """Write ``looked.yaml``."""

    def write(**changes: Any) -> Path:
        path = here / "looked.yaml"
        path.write_text(json.dumps(suite(**changes), indent=1))
        return path

    return write
