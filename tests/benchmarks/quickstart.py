"""What the newcomer's first command takes, installation aside: wall and CPU seconds, and the share that trains.

    uv run python tests/benchmarks/quickstart.py [suites/quickstart.yaml]

Runs the suite as a user does, in a fresh workspace, and again when it is finished. CPU seconds are summed over every
process it starts, sampled ten times a second; what a process uses after its last sample is missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tlbench.store.ledger import Ledger


def run(suite: Path, folder: Path) -> tuple[float, float]:
    """Run the suite and return wall seconds and CPU seconds of all its processes."""
    command = [sys.executable, "-m", "tlbench", "run", str(suite.resolve()), "--workspace", str(folder / "workspace")]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    used: dict[tuple[int, float], float] = {}
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        for each in _family(driver):
            try:
                times = each.cpu_times()
                used[each.pid, each.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        time.sleep(0.1)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, sum(used.values())


def _family(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return [driver, *driver.children(recursive=True)]
    except psutil.Error:
        return []


def main() -> None:
    suite = Path(sys.argv[1] if len(sys.argv) > 1 else "suites/quickstart.yaml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wall, cpu = run(suite, folder)
        with Ledger(folder / "workspace" / "ledger.sqlite") as ledger:
            records = list(ledger.records())
        pretraining = sum(
            json.loads(path.read_text())["seconds"]
            for path in (folder / "workspace" / "artifacts" / "pretrained").glob("*/training.json")
        )
        fitting = sum(record.cost.train_seconds for record in records)
        inside = sum(record.cost.seconds for record in records)
        again, _ = run(suite, folder)
    print(f"{len(records)} cells over {len({r.cell.protocol for r in records})} protocols")
    print(f"wall {wall:.1f} s, CPU {cpu:.1f} s; once finished, the same command takes {again:.1f} s")
    print(f"in cells {inside:.1f} s, of which fitting {fitting:.1f} s; pre-training {pretraining:.1f} s")
    busy = sum(record.cost.cpu_seconds for record in records)
    print(f"CPU seconds in cells {busy:.1f}, elsewhere (pre-training, starting, driver) {cpu - busy:.1f}")


if __name__ == "__main__":
    main()
