"""A suite from Ctrl-C over failing cells to its leaderboard, as a user meets it: real runs in their own processes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlbench.cli.run import command_to_continue
from tlbench.planning.run_request import RunRequest
from tlbench.store.ledger import Ledger

SUITE: dict[str, Any] = {
    "name": "met",
    "baseline": "nearest_centroid",
    "grids": [
        {
            "protocol": "classification",
            "methods": [
                {"name": "from_scratch", "params": {"epochs": 10}},
                {"name": "finetune", "params": {"epochs": 1, "lr": 1e30}},  # no weights survive such a rate
                "nearest_centroid",
            ],
            "backbones": [{"name": "conv4", "width": 8}],
            "datasets": ["digits"],
            "shots": [5],
            "seeds": 4,
        }
    ],
}
NOT_FINITE = "the fitted model gives logits that are not finite"


def started(workspace: Path) -> dict[str, float]:
    """Return when each cell that has a result was started."""
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return {record.id: record.cost.started for record in ledger.records()}


def interrupt_after_one_cell(
    command: list[str], workspace: Path, folder: Path, env: dict[str, str]
) -> tuple[int, str, str]:
    """Run a command, send Ctrl-C to its whole process group once a cell is committed; return code, out and err."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        run = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=err, start_new_session=True)
        deadline = time.monotonic() + 120
        while not ((workspace / "ledger.sqlite").exists() and started(workspace)):
            assert run.poll() is None, (folder / "err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        try:
            code = run.wait(60)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
    return code, (folder / "out").read_text(), (folder / "err").read_text()


@pytest.mark.timeout(400)
def test_interrupted_continued_failed_retried_and_finished(
    tmp_path: Path,
    environment: dict[str, str],
    write_suite: Callable[[dict[str, Any]], Path],
    tlbench: Any,
    command: Any,
) -> None:
    suite, workspace = write_suite(SUITE), tmp_path / "workspace"

    # Ctrl-C, as a terminal sends it: the cells under way are finished, the command that continues is printed.
    line = [sys.executable, "-m", "tlbench", "run", suite.name]
    code, out, err = interrupt_after_one_cell(line, workspace, tmp_path, environment)
    first = started(workspace)
    assert code == 1
    assert 0 < len(first) < 12
    assert "Traceback" not in out + err
    assert "finishing what is under way" in out
    assert f"stopped; {12 - len(first)} cells left" in err
    again = next(text for text in err.splitlines() if "to continue: " in text).partition("to continue: ")[2]
    assert again == "tlbench run met.yaml"

    # The printed command does the rest; what fails is named, with a hint, in the exit code and in the report.
    done = tlbench(*shlex.split(again)[1:])
    assert done.returncode == 1, done.stderr
    second = started(workspace)
    assert len(second) == 12
    assert first.items() <= second.items(), "a finished cell was run again"
    assert "4 cells failed: `tlbench status met.yaml` shows why" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "from_scratch" in done.stdout
    assert NOT_FINITE in (tmp_path / "reports" / "met" / "index.html").read_text()

    said = command("status", "met.yaml").out.splitlines()
    assert said[0] == "met: 12 cells · 8 done · 4 failed"
    reason = said.index(f"  4 cells failed: FloatingPointError: {NOT_FINITE}")
    failed = said[reason + 1].split()[0]
    told = command("cell", failed).out
    assert "lr 1e+30" in told
    assert f"FloatingPointError: {NOT_FINITE}" in told
    assert "Traceback" in told

    # What is done is done: nothing is trained, and cells that nobody asked for do not spoil the exit code.
    idle = tlbench("run", "met.yaml", "--skip", "method=finetune")
    assert (idle.returncode, "nothing left to run" in idle.stdout) == (0, True), idle.stderr
    assert command("run", "met.yaml").code == 1, "failed cells stay failed until they are retried"
    assert started(workspace) == second

    # --retry-failed runs the failed cells again, and no other; a server that is down costs no result and no success.
    down = ("--tracking-uri", "http://127.0.0.1:9")
    retried = tlbench(
        "run",
        "met.yaml",
        "--retry-failed",
        "--only",
        f"id={failed}",
        *down,
        env={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )
    third = started(workspace)
    assert retried.returncode == 1
    assert {cell for cell in third if third[cell] != second[cell]} == {failed}
    assert "12 results are not in MLflow yet" in retried.stderr
    assert "`tlbench sync met.yaml`" in retried.stderr
    assert "1 cell failed" in retried.stderr
    with Ledger(workspace / "ledger.sqlite") as ledger:
        assert [attempt.number for attempt in ledger.attempts(failed)][-1] == 2

    # Later: sync to the store that is there, and the report by name, from it alone.
    assert command("sync", "met.yaml").code == 0
    shown = command("report", "met")
    assert shown.code == 0
    assert "from_scratch" in shown.out
    assert "cells that failed: 4" in shown.err


def test_the_command_that_continues_forces_and_retries_nothing_twice() -> None:
    request = RunRequest(only="failed method='a b'", skip="seed=1", force="method=knn", retry_failed=True)
    again = command_to_continue(request, Path("my suite.yaml"), {"--workspace": None, "--reports": Path("out")})
    assert again == """tlbench run 'my suite.yaml' --only 'method='"'"'a b'"'"'' --skip seed=1 --reports out"""
    assert (
        command_to_continue(RunRequest(only="stale", address="auto"), Path("s.yaml"), {})
        == "tlbench run s.yaml --address auto"
    )
