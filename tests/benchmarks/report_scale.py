"""How long a report takes when MLflow holds many runs: ``python tests/benchmarks/report_scale.py 10000``.

MLflow makes the database, then the rows are inserted in bulk (its own interface writes some twenty runs a second). The
first three thousand runs have their records attached, with curves and answers. Prints wall and CPU seconds of each part
and the peak memory of the process; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tlbench.core.record import pack_bits
from tlbench.report import page

SHOTS = ("1", "5", "20", "full")
DATASETS = ("digits", "glyphs", "rendered_digits", "clouds", "leaves")
BACKBONES = ("conv4/random", "conv4/supervised@glyphs", "resnet18/random", "resnet18/supervised@glyphs")
SEEDS = 5
ATTACHED = 3000
TESTS = 1000
CHUNK = 5000


def fill(path: Path, runs: int) -> str:
    """Make a database with ``runs`` finished runs of the suite ``scale`` and return its URI."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{path}"
    client = MlflowClient(uri)
    experiment = int(client.create_experiment("scale", artifact_location=str(path.parent / "artifacts")))
    client.set_experiment_tag(str(experiment), "tlbench.baseline", "linear_probe")
    client.set_experiment_tag(str(experiment), "tlbench.plan", json.dumps({"cells": runs, "not_applicable": []}))
    with sqlite3.connect(path) as link:
        generator = np.random.default_rng(0)
        for first in range(0, runs, CHUNK):
            numbers = range(first, min(runs, first + CHUNK))
            _insert(link, experiment, numbers, path.parent / "artifacts", generator)
        link.execute("ANALYZE")
    return uri


def _insert(
    link: sqlite3.Connection, experiment: int, numbers: range, artifacts: Path, generator: np.random.Generator
) -> None:
    rows, params, tags, metrics = [], [], [], []
    for number in numbers:
        rest, seed = divmod(number, SEEDS)
        rest, shots = divmod(rest, len(SHOTS))
        rest, dataset = divmod(rest, len(DATASETS))
        method, backbone = divmod(rest, len(BACKBONES))
        label = "linear_probe" if method == 0 else f"method_{method}(rank={method})"
        run = f"{number * 2654435761 % 2**32:08x}{number:024x}"  # ids of real runs are in no order
        accuracy = 0.4 + 0.01 * (method % 20) + 0.1 * shots + generator.normal(0, 0.02)
        place = str(artifacts / run)
        if number < ATTACHED:
            _attach(Path(place), accuracy, generator)
        rows.append((run, f"run {number}", "FINISHED", 1000 * number, 1000 * number + 500, "active", experiment, place))
        named = {
            "protocol": "classification", "protocol_version": "1", "method": label.partition("(")[0],
            "method_label": label, "backbone": BACKBONES[backbone].partition("/")[0],
            "backbone_label": BACKBONES[backbone], "backbone_key": f"{backbone:016x}", "weights": "pretrain",
            "dataset": DATASETS[dataset],
            "dataset_fingerprint": f"{dataset:064x}", "shots": SHOTS[shots], "seed": str(seed),
        }  # fmt: skip
        params += [(key, value, run) for key, value in named.items()]
        params += [(f"param.p{index}", str(index), run) for index in range(19)]
        tags += [("tlbench.cell", f"{number:020x}", run), ("tlbench.digest", f"{number:032x}", run)]
        tags += [(f"tlbench.provenance.fact{index}", f"value {index}", run) for index in range(18)]
        scores = {
            "test/accuracy": accuracy, "test/macro_f1": accuracy, "test/nll": 1.0, "test/ece": 0.1,
            "cost/seconds": 3.0, "cost/peak_memory": 5e8, "footprint/trainable": 1e4 * (1 + method),
            "footprint/stored_bytes": 4e4 * (1 + method), "footprint/total": 1e7,
        }  # fmt: skip
        scores |= {f"curve/c{index}": 0.5 for index in range(32)}
        metrics += [(key, value, 0, 0, 0, run) for key, value in scores.items()]
    link.executemany(
        "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id, artifact_uri)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    link.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", params)
    link.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tags)
    link.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)", metrics
    )


def _attach(folder: Path, accuracy: float, generator: np.random.Generator) -> None:
    """Write a record with what a report reads of it."""
    folder.mkdir(parents=True)
    steps = [(step, float(accuracy * (1 - 0.5 ** (step + 1)))) for step in range(30)]
    outcome = {
        "curves": {"val_accuracy": steps, "train_loss": [(step, 1 - value) for step, value in steps]},
        "correct": pack_bits(np.packbits(generator.random(TESTS) < accuracy).tobytes()),
        "tests": TESTS,
        "group": 1,
    }
    (folder / "record.json").write_text(json.dumps({"outcome": outcome, "error": None}))


@contextmanager
def _measured(name: str, told: dict[str, float]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    told[name], told[f"{name}_cpu"] = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name}: {told[name]:.1f} s, {told[f'{name}_cpu']:.1f} s of CPU", flush=True)


def main() -> None:
    """Print what each part of a report takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=10_000)
    runs = parser.parse_args().runs
    told: dict[str, float] = {"runs": runs}
    with tempfile.TemporaryDirectory() as folder:
        with _measured("fill", told):
            uri = fill(Path(folder) / "mlflow.db", runs)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with _measured("gather", told):
            report = page.gather("scale", uri)
        with _measured("save", told):
            written = page.save(report, Path(folder))
        told["page_mib"] = written.index.stat().st_size / 2**20
        told["files_mib"] = sum(path.stat().st_size for path in written.files) / 2**20
    told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    told["peak_before_mib"] = before / 2**10
    print(f"{len(report.settings)} settings; page {told['page_mib']:.1f} MiB; peak {told['peak_mib']:.0f} MiB")
    print(json.dumps({key: round(value, 2) for key, value in told.items()}))


if __name__ == "__main__":
    main()
