"""How long a report takes when MLflow holds many runs: ``python tests/benchmarks/report_scale.py 10000``.

MLflow makes the database, then the rows are inserted in bulk (its own interface writes some twenty runs a second).
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

from tlbench.report import data, page
from tlbench.report.cells import settle

SHOTS = ("1", "5", "20", "full")
DATASETS = ("digits", "glyphs", "rendered_digits", "clouds", "leaves")
BACKBONES = ("conv4/random", "conv4/supervised@glyphs", "resnet18/random", "resnet18/supervised@glyphs")
SEEDS = 5


def fill(path: Path, runs: int) -> str:
    """Make a database with ``runs`` finished runs of the suite ``scale`` and return its URI."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{path}"
    client = MlflowClient(uri)
    experiment = int(client.create_experiment("scale", artifact_location=str(path.parent / "artifacts")))
    client.set_experiment_tag(str(experiment), "tlbench.baseline", "linear_probe")
    client.set_experiment_tag(str(experiment), "tlbench.plan", json.dumps({"cells": runs, "not_applicable": []}))
    with sqlite3.connect(path) as link:
        _insert(link, experiment, runs)
        link.execute("ANALYZE")
    return uri


def _insert(link: sqlite3.Connection, experiment: int, runs: int) -> None:
    generator = np.random.default_rng(0)
    rows, params, tags, metrics = [], [], [], []
    for number in range(runs):
        rest, seed = divmod(number, SEEDS)
        rest, shots = divmod(rest, len(SHOTS))
        rest, dataset = divmod(rest, len(DATASETS))
        method, backbone = divmod(rest, len(BACKBONES))
        label = "linear_probe" if method == 0 else f"method_{method}(rank={method})"
        run = f"{number * 2654435761 % 2**32:08x}{number:024x}"  # ids of real runs are in no order
        accuracy = 0.4 + 0.01 * (method % 20) + 0.1 * shots + generator.normal(0, 0.02)
        rows.append((run, f"run {number}", "FINISHED", 1000 * number, 1000 * number + 500, "active", experiment))
        named = {
            "protocol": "classification", "protocol_version": "1", "method": label.partition("(")[0],
            "method_label": label, "backbone": BACKBONES[backbone].partition("/")[0],
            "backbone_label": BACKBONES[backbone], "weights": "pretrain", "dataset": DATASETS[dataset],
            "dataset_fingerprint": f"{dataset:064x}", "shots": SHOTS[shots], "seed": str(seed),
        }  # fmt: skip
        params += [(key, value, run) for key, value in named.items()]
        params += [(f"param.p{index}", str(index), run) for index in range(19)]
        tags += [("tlbench.cell", f"{number:020x}", run), ("tlbench.digest", f"{number:032x}", run)]
        tags += [(f"tlbench.provenance.fact{index}", f"value {index}", run) for index in range(18)]
        scores = {
            "test/accuracy": accuracy, "test/macro_f1": accuracy, "test/nll": 1.0, "test/ece": 0.1,
            "cost/seconds": 3.0, "cost/peak_memory": 5e8, "footprint/trainable": 1e4, "footprint/stored_bytes": 4e4,
        }  # fmt: skip
        scores |= {f"curve/c{index}": 0.5 for index in range(32)}
        metrics += [(key, value, 0, 0, 0, run) for key, value in scores.items()]
    link.executemany(
        "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    link.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
    link.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tags)
    link.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)", metrics
    )


def main() -> None:
    """Print the seconds that each part of a report takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=10_000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        uri = fill(Path(folder) / "mlflow.db", runs)
        for attempt in ("first", "again"):
            started = time.perf_counter()
            results = data.load("scale", uri)
            print(f"load, {attempt}: {time.perf_counter() - started:.2f} s for {len(results.done)} runs")
        started = time.perf_counter()
        settle(results.done)
        print(f"settle: {time.perf_counter() - started:.2f} s")
        started = time.perf_counter()
        report = page.gather("scale", uri)
        print(f"load and make tables: {time.perf_counter() - started:.2f} s, {len(report.settings)} settings")
        started = time.perf_counter()
        written = page.save(report, Path(folder))
        print(f"write: {time.perf_counter() - started:.2f} s, page {written.index.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
