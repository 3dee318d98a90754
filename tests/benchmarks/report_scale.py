"""How long a report takes when MLflow holds many runs: ``python tests/benchmarks/report_scale.py 10000``.

MLflow makes the tables, then the rows are inserted in bulk (its own interface writes some twenty runs a second), in an
SQLite file or in the PostgreSQL database of ``--uri postgresql://...``, where a suite that is there already is read
again. The first three thousand runs have their records attached, with curves and answers. The report is made in a
process of its own: wall and CPU seconds of each part, imports apart, and its peak memory; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SHOTS = ("1", "5", "20", "full")
DATASETS = ("digits", "glyphs", "rendered_digits", "clouds", "leaves")
BACKBONES = ("conv4/random", "conv4/supervised@glyphs", "resnet18/random", "resnet18/supervised@glyphs")
SEEDS = 5
ATTACHED = 3000
TESTS = 1000
CHUNK = 5000
TABLES = {
    "runs": "run_uuid name status start_time end_time lifecycle_stage experiment_id artifact_uri",
    "params": "key value run_uuid",
    "tags": "key value run_uuid",
    "latest_metrics": "key value timestamp step is_nan run_uuid",
}
"""Columns that are filled, by table."""

Insert = Callable[[str, Iterable[Sequence[Any]]], None]


def fill(uri: str, suite: str, runs: int, artifacts: Path) -> None:
    """Store ``runs`` finished runs as a suite, unless the store has it."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    if client.get_experiment_by_name(suite) is not None:
        return
    experiment = client.create_experiment(suite, artifact_location=str(artifacts))
    client.set_experiment_tag(experiment, "tlbench.baseline", "linear_probe")
    client.set_experiment_tag(experiment, "tlbench.plan", json.dumps({"cells": runs, "not_applicable": []}))
    generator = np.random.default_rng(0)
    with (_into_sqlite if uri.startswith("sqlite:") else _into_postgresql)(uri) as insert:
        for first in range(0, runs, CHUNK):
            numbers = range(first, min(runs, first + CHUNK))
            for table, rows in _rows(int(experiment), numbers, artifacts, generator).items():
                insert(table, rows)


@contextmanager
def _into_sqlite(uri: str) -> Iterator[Insert]:
    def insert(table: str, rows: Iterable[Sequence[Any]]) -> None:
        columns = TABLES[table].split()
        marks = ", ".join("?" * len(columns))
        link.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as link:
        yield insert
        link.commit()
        link.execute("ANALYZE")


@contextmanager
def _into_postgresql(uri: str) -> Iterator[Insert]:
    import psycopg

    def insert(table: str, rows: Iterable[Sequence[Any]]) -> None:
        with link.cursor().copy(f"COPY {table} ({', '.join(TABLES[table].split())}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    with closing(psycopg.connect(uri)) as link:
        yield insert
        link.commit()
        link.autocommit = True
        link.execute("VACUUM ANALYZE")


def _rows(
    experiment: int, numbers: range, artifacts: Path, generator: np.random.Generator
) -> dict[str, list[tuple[Any, ...]]]:
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
    for number in numbers:
        rest, seed = divmod(number, SEEDS)
        rest, shots = divmod(rest, len(SHOTS))
        rest, dataset = divmod(rest, len(DATASETS))
        method, backbone = divmod(rest, len(BACKBONES))
        label = "linear_probe" if method == 0 else f"method_{method}(rank={method})"
        run = f"{number * 2654435761 % 2**32:08x}{experiment:08x}{number:016x}"  # ids of real runs are in no order
        accuracy = 0.4 + 0.01 * (method % 20) + 0.1 * shots + generator.normal(0, 0.02)
        place = str(artifacts / run)
        if number < ATTACHED:
            _attach(Path(place), accuracy, generator)
        times = 1000 * number, 1000 * number + 500
        rows["runs"].append((run, f"run {number}", "FINISHED", *times, "active", experiment, place))
        named = {
            "protocol": "classification", "protocol_version": "1", "method": label.partition("(")[0],
            "method_label": label, "backbone": BACKBONES[backbone].partition("/")[0],
            "backbone_label": BACKBONES[backbone], "backbone_key": f"{backbone:016x}", "weights": "pretrain",
            "dataset": DATASETS[dataset],
            "dataset_fingerprint": f"{dataset:064x}", "shots": SHOTS[shots], "seed": str(seed),
        }  # fmt: skip
        named |= {f"param.p{index}": str(index) for index in range(19)}
        rows["params"] += [(key, value, run) for key, value in named.items()]
        told = {"tlbench.cell": f"{number:020x}", "tlbench.digest": f"{number:032x}"}
        told |= {f"tlbench.provenance.fact{index}": f"value {index}" for index in range(18)}
        rows["tags"] += [(key, value, run) for key, value in told.items()]
        scores = {
            "test/accuracy": accuracy, "test/macro_f1": accuracy, "test/nll": 1.0, "test/ece": 0.1,
            "cost/seconds": 3.0, "cost/peak_memory": 5e8, "footprint/trainable": 1e4 * (1 + method),
            "footprint/stored_bytes": 4e4 * (1 + method), "footprint/total": 1e7,
        }  # fmt: skip
        scores |= {f"curve/c{index}": 0.5 for index in range(32)}
        rows["latest_metrics"] += [(key, value, 0, 0, False, run) for key, value in scores.items()]
    return rows


def _attach(folder: Path, accuracy: float, generator: np.random.Generator) -> None:
    """Write a record with what a report reads of it."""
    from tlbench.core.record import pack_bits

    folder.mkdir(parents=True, exist_ok=True)
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


def measure(uri: str, suite: str, folder: Path) -> None:
    """Make the report and print what each part takes."""
    told: dict[str, float] = {}
    with _measured("imports", told):
        from tlbench.report import page, report_data
    with _measured("gather", told):
        report = report_data.read_report(suite, uri)
    with _measured("save", told):
        written = page.save(report, folder)
    told["cpu"] = time.process_time()
    told["cells"], told["settings"] = len(report.cells), len(report.settings)
    told["page_mib"] = written.index.stat().st_size / 2**20
    told["files_mib"] = sum(path.stat().st_size for path in written.files) / 2**20
    told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    told["load"] = os.getloadavg()[0]
    print(json.dumps({key: round(value, 2) for key, value in told.items()}))


def main() -> None:
    """Fill a store, then measure a report of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=10_000)
    parser.add_argument("--uri", help="a PostgreSQL database, or an SQLite file that is kept")
    parser.add_argument("--artifacts", type=Path, help="where records are kept")
    parser.add_argument("--filled", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    suite = f"scale-{asked.runs}"
    with tempfile.TemporaryDirectory() as folder:
        if asked.filled:
            measure(asked.uri, suite, Path(folder))
            return
        uri = asked.uri or f"sqlite:///{folder}/mlflow.db"
        fill(uri, suite, asked.runs, asked.artifacts or Path(folder) / "artifacts")
        command = [sys.executable, __file__, str(asked.runs), "--uri", uri, "--filled"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
