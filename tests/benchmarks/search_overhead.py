"""What Tune, the ledger and the processes add to trials: a search against a bare loop of the same, in one run.

    uv run python tests/benchmarks/search_overhead.py [--trials 200] [--width 8] [--epochs 20] [--shots 5] [--memory]

Both sides train the same trials (fine-tuning at other rates) one after another, with everything warm; the search runs
one trial at a time, and both have one thread. The clock of the search runs from its first finished
trial to its last. With ``--memory`` the resident set of the driver is told along the way, and the bare loop left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import psutil
import torch

from tlbench.core.record import Record
from tlbench.planning.budget import Budget
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.planning.search_plan import read_studies
from tlbench.runner.observer import SilentObserver
from tlbench.runner.run_context import RunContext
from tlbench.runner.session import RaySession
from tlbench.runner.tune_experiment import Experiment, run_trials
from tlbench.search.study import Study
from tlbench.store.workspace import Workspace, driver_name
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

CPUS = 1


def suite(folder: Path, args: argparse.Namespace) -> Path:
    body = {
        "name": "overhead",
        "grids": [
            {
                "protocol": "classification",
                "methods": [{"name": "finetune", "params": {"epochs": args.epochs}}],
                "backbones": [{"name": "conv4", "width": args.width}],
                "datasets": ["digits"],
                "shots": [args.shots],
            }
        ],
        "search": {
            "trials": args.trials,
            "scheduler": "none",
            "parallel": 1,
            "fold_below": 0,  # one training a trial, as the bare loop has
            "declared": False,
            "space": {"finetune": {"lr": {"log_uniform": [1e-4, 1e-2]}}},
        },
        "resources": {"cpus": CPUS},
    }
    path = folder / "overhead.yaml"
    path.write_text(json.dumps(body))
    return path


def bare(prepared: PreparedSuite, workspace: Workspace, count: int) -> float:
    """Return the seconds of a trial in a plain loop."""
    torch.set_num_threads(CPUS)
    cache = WorkerCache(workspace.artifacts, torch.device("cpu"))
    (setting,) = prepared.searches.problems.values()
    study = Study(setting, {})
    start = 0.0
    for done in range(count + 1):
        if done == 1:
            start = time.perf_counter()  # the first one warms up
        trial = study.propose()
        assert trial is not None
        study.take(trial.number, run_cell(setting.trial_cell(trial), cache, cpus=CPUS))
    return (time.perf_counter() - start) / count


def searched(prepared: PreparedSuite, workspace: Workspace) -> tuple[float, list[float], list[float]]:
    """Return seconds from one trial to the next, of the trials themselves, and MB of the driver after each tenth."""
    ends: list[float] = []
    took: list[float] = []
    memory: list[float] = []
    step = max(prepared.suite.search.trials // 10, 1) if prepared.suite.search else 1

    class Clock(SilentObserver):
        def on_record(self, record: Record) -> None:
            ends.append(time.perf_counter())
            took.append(record.cost.seconds)
            if len(ends) % step == 0:
                memory.append(psutil.Process().memory_info().rss / 2**20)

    with workspace.ledger() as ledger, RaySession(workspace.root) as session:
        context = RunContext(workspace, ledger, session, Clock(), threading.Event(), driver_name())
        resources = prepared.suite.resources
        attempts = context.attempts(Budget(prepared.suite.limits), resources)
        run_trials(Experiment(read_studies(prepared.searches, ledger), "none", resources), attempts, context)
    return (ends[-1] - ends[0]) / (len(ends) - 1), took[1:], memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        prepared = prepare(suite(Path(folder), args), workspace.artifacts)
        plain = None if args.memory else bare(prepared, workspace, min(args.trials - 1, 50))
        apart, took, memory = searched(prepared, workspace)
    inside = sum(took) / len(took)
    found = {
        "trials": args.trials,
        "ms_per_trial": {"bare": plain and round(1000 * plain, 2), "searched": round(1000 * apart, 2)},
        "ratio": plain and round(apart / plain, 4),
        "added_ms": round(1000 * (apart - inside), 2),
        "trials_a_minute": round(60 / apart, 1),
        "driver_mb": [round(value, 1) for value in memory],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
