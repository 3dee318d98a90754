"""Seconds of a suite's cells in tlbench over those of an idiomatic script, in one run, on the same machine.

    uv run --all-extras python tests/benchmarks/idiomatic.py suites/photos.yaml [--only "shots<=5 seed=0"] [--workers 0]

First ``tlbench run`` computes the selected cells in a new workspace, from start to exit, with whatever it does besides:
it starts Ray, decodes the data, writes to MLflow and makes the report. Then ``idiomatic_loop.py`` computes cells of the
same methods, data sets, budgets and seeds, in one process with as many threads as torch takes by itself. Both train for
as many steps, in batches of 32, at the same rates; both answer for the whole test. Each draws labels of its own, so
that accuracies agree as closely as draws do; they are printed to show that both do the same work. LoRA is that of
peft's examples, which trains fewer layers of a convolutional network than tlbench's does.

Left out, on both sides: networks that a suite pre-trains first, and methods that the script does not have. CPU seconds
are summed over all processes, sampled ten times a second; what a process uses after its last sample is missed. Timings
under other load mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import psutil

from tlbench.core.cell import Cell
from tlbench.core.record import Record
from tlbench.planning.prepare import prepare
from tlbench.store.workspace import Workspace

HAND_WRITTEN = (
    *("linear_probe", "knn", "linear_head", "tfidf", "finetune", "lp_ft", "wise_ft", "l2_sp", "discriminative_lr"),
    *("gradual_unfreezing", "bitfit", "lora", "adapter", "ssf", "setfit"),
)
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
LOOP = Path(__file__).with_name("idiomatic_loop.py")


class Spent(NamedTuple):
    """Seconds from start to exit, and CPU seconds of all processes."""

    wall: float
    cpu: float


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Spent:
    """Run a command, and return what it took.

    Raises:
        SystemExit: It failed.
    """
    start, used = time.perf_counter(), dict[tuple[int, float], float]()
    process = subprocess.Popen(command, cwd=folder, stdout=sys.stderr, env=dict(environment))
    while process.poll() is None:
        for each in _family(process.pid):
            try:
                times = each.cpu_times()
                used[each.pid, each.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        time.sleep(0.1)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Spent(time.perf_counter() - start, sum(used.values()))


def _family(pid: int) -> list[psutil.Process]:
    try:
        driver = psutil.Process(pid)
        return [driver, *driver.children(recursive=True)]
    except psutil.Error:
        return []


def run_tlbench(suite: Path, only: str, folder: Path, environment: Mapping[str, str]) -> tuple[Spent, list[Record]]:
    """Run the cells in a new workspace, and return what it took and their records."""
    command = [sys.executable, "-m", "tlbench", "run", str(suite), "--only", only]
    workspace = Workspace.at(folder / "workspace")
    places = ["--workspace", str(workspace.root), "--reports", str(folder / "reports")]
    spent = run([*command, *places], folder, environment)
    with workspace.ledger() as ledger:
        return spent, list(ledger.records())


def cell_list(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Return the cells as ``idiomatic_loop.py`` reads them, grouped by data set and network."""
    groups: dict[str, dict[str, Any]] = {}
    for cell in cells:
        member = cell.dataset.params.get("of", {"name": cell.dataset.name, "params": cell.dataset.params})
        spec = {
            "kind": "texts" if member["name"] == "texts" else "photos",
            "path": member["params"]["path"],
            "domain": member.get("domain"),
            "per_class": cell.dataset.params.get("per_class"),
        }
        if not cell.backbone.is_absent:
            spec["network"] = cell.backbone.info.name.partition(":")[2]
            spec["image_size"] = cell.backbone.info.recipe.get("image_size")
        group = groups.setdefault(cell.dataset.info.name, {"spec": {}, "cells": []})
        group["spec"] |= spec
        group["cells"].append({**_place(cell), "epochs": cell.method.params.get("epochs")})
    for group in groups.values():
        group["spec"].setdefault("network", MINILM)  # where there is a bag of words and nothing else
    return list(groups.values())


def _place(cell: Cell) -> dict[str, Any]:
    name = cell.method.name
    return {"method": name, "dataset": cell.dataset.info.name, "shots": cell.shots, "seed": cell.seed}


def tables(records: list[Record], lines: list[dict[str, Any]]) -> Iterable[str]:
    """Yield the seconds by method, and the accuracies by method, data set and budget."""
    ours, theirs = defaultdict[str, list[Record]](list), defaultdict[str, list[dict[str, Any]]](list)
    for record in records:
        ours[record.cell.method].append(record)
    for line in lines:
        theirs[line["method"]].append(line)
    yield f"{'seconds':20} cells  in cells: tlbench  script   CPU: tlbench  script"
    for method in sorted({*ours, *theirs}):
        costs = [record.cost for record in ours[method] if record.cost is not None]
        wall, cpu = sum(c.seconds for c in costs), sum(c.cpu_seconds for c in costs)
        parts = [sum(line[key] for line in theirs[method]) for key in ("seconds", "cpu_seconds")]
        yield f"{method:20} {len(costs):5} {wall:18.1f} {parts[0]:7.1f} {cpu:14.1f} {parts[1]:7.1f}"
    yield ""
    yield f"{'accuracy':20} {'data set':45} shots  tlbench  script"
    for (method, dataset, shots), pair in sorted(_accuracies(records, lines).items()):
        shown = [f"{100 * fmean(side):7.1f}" if side else "      -" for side in pair]
        yield f"{method:20} {dataset:45} {shots:5}  {shown[0]} {shown[1]}"


def _accuracies(
    records: list[Record], lines: list[dict[str, Any]]
) -> dict[tuple[str, str, Any], tuple[list[float], list[float]]]:
    found: dict[tuple[str, str, Any], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for record in records:
        cell = record.cell
        if record.outcome is not None:
            found[cell.method, cell.dataset, cell.shots][0].append(record.outcome.scores["accuracy"])
    for line in lines:
        if "accuracy" in line:
            found[line["method"], line["dataset"], line["shots"]][1].append(line["accuracy"])
    return found


def main() -> None:
    """Run both sides, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--only", default="", help="which cells, as of tlbench run")
    parser.add_argument("--methods", nargs="+", choices=HAND_WRITTEN, default=list(HAND_WRITTEN))
    parser.add_argument("--workers", type=int, default=0, help="processes that load the script's training batches")
    asked = parser.parse_args()
    only = f"{asked.only} method={','.join(asked.methods)} weights!=pretrain".strip()
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with tempfile.TemporaryDirectory() as name:
        folder, suite = Path(name), asked.suite.resolve()
        ours, records = run_tlbench(suite, only, folder, environment)
        failed = [record.cell.label for record in records if record.status != "done"]
        ids = {record.cell.id for record in records}
        plan = prepare(suite, Workspace.at(folder / "workspace").artifacts).plan
        (folder / "cells.json").write_text(json.dumps(cell_list(cell for cell in plan.cells if cell.id in ids)))
        command = [sys.executable, str(LOOP), "cells.json", "results.jsonl", "--workers", str(asked.workers)]
        theirs = run(command, folder, environment)
        lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    print("\n".join(tables(records, lines)))
    count = sum("accuracy" in line for line in lines)
    print(f"\ntlbench: {len(records)} of {len(plan.cells)} cells, {len(failed)} failed; script: {count} cells")
    for what, (own, other) in {"start to exit": (ours.wall, theirs.wall), "CPU": (ours.cpu, theirs.cpu)}.items():
        print(f"{what}: tlbench {own:.1f} s, script {other:.1f} s: {other / own:.2f} times")
    print(f"cores: {len(os.sched_getaffinity(0))}; load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
