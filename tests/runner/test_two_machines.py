"""Two machines that share no files, as two raylets on this host: same results, weights made once, a loss survived."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_suites import PRETRAINED, digests, planned, suite
from student_methods import install

from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

# Enough work that the second machine, however slowly it starts, takes part and can be lost in the midst of it.
METHODS = [{"name": "finetune", "params": {"epochs": 60}}, "nearest_centroid"]
GRID = {"methods": METHODS, "backbones": [PRETRAINED], "shots": [20], "seeds": 8}


@dataclass(frozen=True)
class Machines:
    """Two machines of one cluster."""

    folder: Path
    address: str
    raylets: dict[str, int]
    environment: dict[str, str]

    def artifacts(self, name: str) -> Path:
        return self.folder / name / "artifacts"


@pytest.fixture
def machines(tmp_path: Path, environment: dict[str, str]) -> Iterator[Machines]:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    user = {key: value for key, value in environment.items() if key != "TLBENCH_ARTIFACTS"}
    user |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    user |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray's switch that keeps every port on the loopback address
    command = [sys.executable, str(Path(__file__).with_name("two_machines.py")), str(tmp_path)]
    log = (tmp_path / "machines.log").open("w")
    runner = subprocess.Popen(command, env=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    assert runner.stdin is not None
    assert runner.stdout is not None
    try:
        told = json.loads(runner.stdout.readline())
        yield Machines(tmp_path, told["address"], told["raylets"], user)
    finally:
        started = psutil.Process(runner.pid).children(recursive=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            runner.communicate(timeout=30)
        runner.kill()
        for straggler in psutil.wait_procs(started, timeout=5)[1]:
            straggler.kill()


def wait_for(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def processes(workspace: Path) -> dict[str, str]:
    """The process that ran each cell."""
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return {record.id: str(record.provenance["pid"]) for record in ledger.records()}


@pytest.mark.slow
def test_two_machines_make_what_one_makes_and_one_of_them_may_be_lost(
    tmp_path: Path, machines: Machines, write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    spread, workspace = suite("spread", GRID), tmp_path / "workspace"
    path = write_suite(spread)
    on_cluster = machines.environment
    command = [sys.executable, "-m", "tlbench", "run", str(path), "--workspace", str(workspace)]
    command += ["--address", machines.address]
    log = (tmp_path / "run.log").open("w")
    driver = subprocess.Popen(command, cwd=tmp_path, env=on_cluster, stdout=log, stderr=log)
    try:
        wait_for(lambda: (workspace / "ledger.sqlite").exists() and len(set(processes(workspace).values())) == 2, 120)
        os.kill(machines.raylets["other"], signal.SIGKILL)
        before = len(digests(workspace))
        assert before < 16, "the machine must be lost in mid-suite for this test to mean anything"
        assert driver.wait(120) == 0, (tmp_path / "run.log").read_text()
    finally:
        driver.kill()
        driver.wait()

    made = [machines.artifacts(name) / "pretrained" for name in ("head", "other")]
    weights = [sorted(folder.glob("*/weights.safetensors")) for folder in made]
    assert [len(files) for files in weights] == [1, 1], "both machines have the weights"
    assert weights[0][0].read_bytes() == weights[1][0].read_bytes()
    assert len([file for folder in made for file in folder.glob("*/training.json")]) == 1, "one of them made them"
    assert not (workspace / "artifacts" / "pretrained").exists()

    workers, found = processes(workspace), digests(workspace)
    assert len(found) == 16
    cells = sorted(planned(spread, tmp_path, tmp_path / "alone"), key=lambda cell: (workers[cell.id], cell.method.name))
    sample = {(workers[cell.id], cell.method.name): cell for cell in cells}
    assert len({worker for worker, _ in sample}) == 2
    cache = WorkerCache(Artifacts(tmp_path / "alone"), torch.device("cpu"))
    for cell in sample.values():
        assert run_cell(cell, cache).digest == found[cell.id]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_lost_in_mid_search_changes_nothing_that_is_found(
    tmp_path: Path, machines: Machines, environment: dict[str, str], write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    # Trials must take longer than a process takes to start: one that is free takes them from one that is not yet there.
    methods = [{"name": name, "params": {"epochs": 250}} for name in ("finetune", "discriminative_lr")]
    sought = suite(
        "sought", {**GRID, "methods": methods, "seeds": 1}, search={"trials": 4, "scheduler": "none", "fold_below": 0}
    )
    path, workspace = write_suite(sought), tmp_path / "workspace"
    command = [sys.executable, "-m", "tlbench", "tune", str(path), "--workspace", str(workspace)]
    command += ["--address", machines.address]
    log = (tmp_path / "tune.log").open("w")
    driver = subprocess.Popen(command, cwd=tmp_path, env=machines.environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: (workspace / "ledger.sqlite").exists() and len(set(processes(workspace).values())) >= 2, 200)
        made = [list((machines.artifacts(name) / "pretrained").glob("*/training.json")) for name in ("head", "other")]
        os.kill(machines.raylets["other"], signal.SIGKILL)
        before = digests(workspace)
        assert driver.wait(300) == 0, (tmp_path / "tune.log").read_text()
    finally:
        driver.kill()
        driver.wait()
    assert 2 <= len(before) < 8, "the machine must be lost in mid-search for this test to mean anything"
    assert len(made[0]) + len(made[1]) == 1, "one machine made the weights, and the other was given them"
    alone = [sys.executable, "-m", "tlbench", "tune", str(path), "--workspace", str(tmp_path / "alone")]
    subprocess.run(alone, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
    assert digests(workspace) == digests(tmp_path / "alone")


@pytest.mark.slow
def test_one_cell_spans_two_machines(
    tmp_path: Path, machines: Machines, write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    sgd = {"name": "finetune", "params": {"epochs": 3, "optimizer": "sgd", "lr": 0.01}}
    spread = suite("wide", {**GRID, "methods": [sgd], "seeds": 1}, resources={"workers": 2})
    path, workspace = write_suite(spread), tmp_path / "workspace"
    command = [sys.executable, "-m", "tlbench", "run", str(path), "--workspace", str(workspace)]
    command += ["--address", machines.address]
    done = subprocess.run(command, cwd=tmp_path, env=machines.environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    weights = [sorted((machines.artifacts(name) / "pretrained").glob("*/*.safetensors")) for name in ("head", "other")]
    assert [len(files) for files in weights] == [1, 1], "each machine had a part in it"
    assert weights[0][0].read_bytes() == weights[1][0].read_bytes()

    shutil.copytree(machines.artifacts("head"), tmp_path / "alone")
    (cell,) = planned(spread, tmp_path, tmp_path / "alone")
    expected = run_cell(cell, WorkerCache(Artifacts(tmp_path / "alone"), torch.device("cpu"))).outcome
    with Ledger(workspace / "ledger.sqlite") as ledger:
        (record,) = ledger.records()
    assert expected is not None
    assert record.outcome is not None
    assert record.provenance["workers"] == 2
    assert record.outcome.scores == pytest.approx(expected.scores, abs=2e-3)
    for name, curve in expected.curves.items():
        assert record.outcome.curves[name] == [(step, pytest.approx(value, abs=1e-3)) for step, value in curve]


@pytest.fixture
def students_installed(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = install(tmp_path / "installed")
    environment["PYTHONPATH"] = f"{folder}:{environment.get('PYTHONPATH', '')}"


@pytest.mark.slow
def test_a_teacher_trained_on_one_machine_is_carried_to_the_other(
    tmp_path: Path, students_installed: None, machines: Machines, write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    teacher = {"params": {"epochs": 150}, "backbone": PRETRAINED}
    methods = [{"name": "copy", "params": {"scale": scale + 1.0}, "teacher": teacher} for scale in range(6)]
    path, workspace = write_suite(suite("taught", {**GRID, "methods": methods, "seeds": 6})), tmp_path / "workspace"
    command = [sys.executable, "-m", "tlbench", "run", str(path), "--workspace", str(workspace)]
    command += ["--address", machines.address]
    done = subprocess.run(command, cwd=tmp_path, env=machines.environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = [sorted((machines.artifacts(name) / "teachers").glob("*/*")) for name in ("head", "other")]
    trained = [[file.parent.name for file in files if file.name == "training.json"] for files in kept]
    weights = [{file.parent.name: file for file in files if file.suffix == ".safetensors"} for files in kept]
    assert all(trained), "both took part"
    assert len(set(trained[0] + trained[1])) == len(trained[0] + trained[1]) == 6, "each was trained once"
    carried = weights[0].keys() & weights[1].keys()
    assert carried
    assert all(weights[0][name].read_bytes() == weights[1][name].read_bytes() for name in carried)
    assert len(digests(workspace)) == 36


def test_a_wrong_address_is_a_users_mistake(
    tlbench: Any, write_suite: Callable[[dict[str, Any]], Path], environment: dict[str, str]
) -> None:
    path = write_suite(suite("nowhere", {"methods": ["nearest_centroid"], "seeds": 1}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = tlbench("run", str(path), "--address", address, env={"RAY_gcs_rpc_server_connect_timeout_s": "2"})
    assert failed.returncode == 2
    assert f"no Ray cluster at '{address}'" in failed.stderr
    assert "Traceback" not in failed.stderr
