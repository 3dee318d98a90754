"""What the machinery adds to cells that take milliseconds: slots and ledger against a bare loop, in one run.

    uv run python tests/benchmarks/tiny_cells.py [--cells 1000] [--slots 1]

Both sides run the same cells (heads on cached features) on one thread a process. The bare loop calls protocol and
method with everything warm and keeps nothing. MLflow is written behind, apart, and timed by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from tlbench.core.cell import Cell, task_info
from tlbench.core.resources import Limits
from tlbench.planning.budget import Budget
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.plugins import registry
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.attempts import Attempts
from tlbench.runner.scheduler import Scheduler
from tlbench.runner.session import RaySession
from tlbench.runner.slot_pool import Slots
from tlbench.runner.tracking import sync_suite
from tlbench.store.workspace import Workspace, driver_name
from tlbench.training.context import Context
from tlbench.worker.cache import WorkerCache

METHODS = ("linear_probe", "knn", "nearest_centroid")


def suite(folder: Path, cells: int) -> Path:
    body = {
        "name": "tiny_cells",
        "grids": [
            {
                "protocol": "classification",
                "methods": list(METHODS),
                "backbones": [
                    {
                        "name": "conv4",
                        "width": 32,
                        "pretrain": {"method": "supervised", "dataset": "rendered_digits", "params": {"epochs": 1}},
                    }
                ],
                "datasets": ["digits"],
                "shots": [5],
                "seeds": -(-cells // len(METHODS)),
            }
        ],
    }
    path = folder / "tiny_cells.yaml"
    path.write_text(json.dumps(body))
    return path


def bare(cells: list[Cell], cache: WorkerCache) -> list[float]:
    """Run the cells in a plain loop and return the seconds of each."""
    seconds = []
    for cell in cells:
        start = time.perf_counter()
        method = registry.declaration("methods", cell.method.name).load()
        protocol = registry.declaration("protocols", cell.protocol.name).load()
        dataset = cache.dataset(cell.dataset)
        backbone = cache.backbone(cell.backbone, cell.seed)
        features = cache.features(cell.backbone, cell.seed, dataset)
        ctx = Context(random_root=cell.id, device=cache.device, features=features)
        config = method.Config(**cell.method.params)
        info = task_info(cell.protocol, dataset.info, cell.shots)
        protocol.run(info, dataset, cell.seed, lambda t, m=method, c=config, x=ctx, b=backbone: m.fit(t, b, c, x), ctx)
        seconds.append(time.perf_counter() - start)
    return seconds


def through_slots(cells: list[Cell], prepared: PreparedSuite, workspace: Workspace, slots: Slots) -> float:
    """Run the cells through slots into the ledger and return the seconds from first to last."""
    with workspace.ledger() as ledger:
        start = time.perf_counter()
        attempts = Attempts(ledger, driver_name(), Budget(Limits()), slots.resources)
        Scheduler(cells, slots, attempts, ArtifactGate()).run()
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.at(Path(folder) / "workspace")
        prepared = prepare(suite(Path(folder), asked.cells + 2 * len(METHODS)), workspace.artifacts)
        cells = prepared.plan.cells
        warmup, cells = cells[: asked.slots * len(METHODS)], cells[-asked.cells :]
        cache = WorkerCache(workspace.artifacts, torch.device("cpu"))
        bare(warmup, cache)
        with (
            RaySession(workspace.root) as session,
            Slots(session, workspace.artifacts.root, prepared.suite.resources, most=asked.slots) as slots,
        ):
            through_slots(warmup, prepared, workspace, slots)
            alone = bare(cells, cache)
            wall = through_slots(cells, prepared, workspace, slots)
        added = (wall * asked.slots - sum(alone)) / len(cells)
        print(f"{len(cells)} cells, {asked.slots} slot(s)")
        mean, middle = 1e3 * sum(alone) / len(cells), 1e3 * statistics.median(alone)
        print(f"bare loop       {mean:7.2f} ms a cell (median {middle:.2f})")
        print(f"slots + ledger  {1e3 * wall / len(cells):7.2f} ms a cell of wall time")
        print(f"added           {1e3 * added:7.2f} ms a cell and slot   (target: at most 10)")
        start = time.perf_counter()
        _, backlog = sync_suite(prepared, workspace, None)
        seconds = time.perf_counter() - start
        print(f"MLflow          {len(cells) / seconds:7.1f} cells a second, written behind (target: at least 15)")
        assert backlog.count == 0, backlog


if __name__ == "__main__":
    main()
