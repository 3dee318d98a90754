"""Kills workers, then the driver, with SIGKILL in mid-suite: the end is that of an undisturbed run, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tlbench.store.ledger import Ledger

SUITE = {
    "name": "killed",
    "baseline": "nearest_centroid",
    "grids": [
        {
            "protocol": "classification",
            "methods": [{"name": "finetune", "params": {"epochs": 20}}, "nearest_centroid"],
            "backbones": [
                {
                    "name": "conv4",
                    "width": 8,
                    "pretrain": {"method": "supervised", "dataset": "digits", "params": {"epochs": 2}},
                }
            ],
            "datasets": ["rendered_digits"],
            "shots": [20],
            "seeds": 4,
        }
    ],
}


def digests(workspace: Path) -> dict[str, str]:
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return {record.id: record.digest for record in ledger.records()}


def wait_for(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def slots_of(driver: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "ray::Slot" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_killed_worker_and_a_killed_driver_change_nothing(
    tmp_path: Path, environment: dict[str, str], write_suite: Callable[[dict[str, Any]], Path], tlbench: Any
) -> None:
    suite = write_suite(SUITE)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    undisturbed = tlbench("run", str(suite), "--workspace", str(calm))
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = digests(calm)
    assert len(expected) == 8

    command = [sys.executable, "-m", "tlbench", "run", str(suite), "--workspace", str(rough)]
    log = (tmp_path / "rough.log").open("w")
    driver = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    ledger = rough / "ledger.sqlite"
    try:
        wait_for(lambda: ledger.exists() and len(digests(rough)) >= 2)
        victims = slots_of(driver.pid)
        assert victims
        os.kill(victims[0].pid, signal.SIGKILL)
        after_worker = len(digests(rough))
        wait_for(lambda: len(digests(rough)) > after_worker)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    before = digests(rough)
    assert 0 < len(before) < 8, "the driver must die in mid-suite for this test to mean anything"

    resumed = tlbench("run", str(suite), "--workspace", str(rough))
    assert resumed.returncode == 0, resumed.stderr
    assert digests(rough) == expected
    with Ledger(ledger) as kept:
        started = {record.id: record.cost.started for record in kept.records()}
    assert {name: digest for name, digest in digests(rough).items() if name in before} == before
    assert len(started) == 8

    again = tlbench("run", str(suite), "--workspace", str(rough))
    assert again.returncode == 0, again.stderr
    with Ledger(ledger) as kept:
        assert {record.id: record.cost.started for record in kept.records()} == started, "nothing was run again"
