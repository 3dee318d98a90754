"""One small suite in a real MLflow database, with everything that can go wrong in one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tlbench.core.planned_setting import PlannedSetting
from tlbench.core.record import pack_bits
from tlbench.store.mlflow.planned_cells import plan_tags

FOLLY = "<script>alert('method')</script>"
BOOM = "ValueError: <img src=x onerror=alert(1)>\nTraceback: line two"
PROVENANCE = {"tlbench.provenance.torch": "2.15.0", "tlbench.provenance.commit": "abc123"}
SEEDS = (0, 1, 2)
TESTS = 203
TRACEBACK = "\n".join(["Traceback (most recent call last):", *(f"  line {n}" for n in range(30)), BOOM])
LEVEL = {"linear_probe": 0.60, "lora(rank=8)": 0.66, FOLLY: 0.50, "patchy": 0.70}
BONUS = {("digits", "1"): 0.0, ("digits", "full"): 0.2, ("glyphs", "1"): -0.1, ("glyphs", "full"): 0.05}


def accuracy(method: str, dataset: str, shots: str, seed: int) -> float:
    """Return the made-up accuracy of a cell; it varies over seeds, and depends on nothing else."""
    wobble = Random(f"{method} {dataset} {shots} {seed}").gauss(0, 0.03)
    return round(LEVEL[method] + BONUS[dataset, shots] + wobble, 6)


def params(method: str, dataset: str, shots: str, seed: int, **changed: str) -> dict[str, str]:
    """Return the parameters of a run of the suite."""
    return {
        "protocol": "classification",
        "protocol_version": "1",
        "method": method.partition("(")[0],
        "method_label": method,
        "backbone": "resnet18",
        "backbone_label": "resnet18/random",
        "weights": "random",
        "backbone_key": "0" * 16,
        "dataset": dataset,
        "dataset_fingerprint": "f" * 60 + dataset[:4],
        "shots": shots,
        "seed": str(seed),
        "param.lr": "0.1",
        **changed,
    }


def plan() -> list[PlannedSetting]:
    """Return the settings of the suite, of 55 cells."""
    usual = PlannedSetting("classification", "{}", "", "resnet18/random", "", "", SEEDS)
    grid = [
        replace(usual, method=method, dataset=dataset, shots=shots, fingerprint="f" * 60 + dataset[:4])
        for method in LEVEL
        for dataset, shots in BONUS
    ]
    episodes = replace(usual, protocol="episodic", options='{"ways":"5"}', backbone="conv4/random", dataset="glyphs")
    episodes = replace(episodes, shots="1", fingerprint="f" * 60 + "glyp")
    return [
        *grid,
        replace(episodes, method="protonet", seeds=(0, 1)),
        replace(episodes, method="maml", seeds=(0, 1, 2, 3, 4)),
    ]


def record(value: float, method: str, seed: int) -> dict[str, Any]:
    """Return the part of a record that a report reads: a curve, and answers of which a share is right."""
    curve = [(epoch, value * (1 - 0.5 ** (epoch + 1))) for epoch in range(100)]
    right = Random(f"{method} {seed}").choices([True, False], [value, 1 - value], k=TESTS)
    bits = pack_bits(np.packbits(right).tobytes())
    return {"outcome": {"curves": {"val_accuracy": curve}, "correct": bits, "tests": TESTS, "group": 1}, "error": None}


class Writer:
    """Stores runs as the sync does: everything first, the final status last."""

    def __init__(self, client: Any, experiment: str) -> None:
        self._client = client
        self._experiment = experiment
        self._clock = 1_700_000_000_000
        self.ids: list[str] = []

    def run(
        self,
        cell: str,
        params: dict[str, str],
        metrics: dict[str, float],
        *,
        status: str | None = "FINISHED",
        digest: str = "d",
        tags: dict[str, str] | None = None,
        record: dict[str, Any] | None = None,
    ) -> str:
        """Store one run and return its id; ``status`` None leaves it running, ``record`` is attached."""
        from mlflow.entities import Metric, Param

        self._clock += 1000
        told = {"tlbench.cell": cell, "tlbench.digest": f"{digest}{cell}"} | (tags or {})
        run = self._client.create_run(self._experiment, start_time=self._clock, tags=told)
        cost = {"cost/seconds": 2.0, "cost/peak_memory": 5e8}
        cost |= {"footprint/trainable": 650, "footprint/stored_bytes": 2600}
        self._client.log_batch(
            run.info.run_id,
            [Metric(key, value, self._clock, 0) for key, value in (cost | metrics).items()],
            [Param(key, value) for key, value in params.items()],
        )
        if record is not None:
            folder = Path(run.info.artifact_uri.removeprefix("file://"))
            folder.mkdir(parents=True)
            (folder / "record.json").write_text(json.dumps(record))
        if status:
            self._client.set_terminated(run.info.run_id, status, end_time=self._clock + 500)
        self.ids.append(run.info.run_id)
        return str(run.info.run_id)


def fill(uri: str, artifacts: Path) -> None:
    """Store the suite ``demo`` and an empty suite ``fewshot``."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    client.create_experiment("fewshot", artifact_location=str(artifacts))
    experiment = client.create_experiment("demo", artifact_location=str(artifacts))
    reason = {"count": 6, "reason": "needs <b>episodes</b>", "what": "maml | classification"}
    summary = {"cells": 55, "not_applicable": [reason]}
    client.set_experiment_tag(experiment, "tlbench.baseline", "linear_probe")
    client.set_experiment_tag(experiment, "tlbench.plan", json.dumps(summary))
    for name, value in plan_tags(plan(), 500).items():
        client.set_experiment_tag(experiment, name, value)
    client.set_experiment_tag(experiment, "tlbench.suite", "name: demo\nbaseline: linear_probe\n")
    writer = Writer(client, experiment)
    for method in LEVEL:
        for dataset, shots in BONUS:
            for seed in SEEDS:
                if (method, dataset, shots, seed) == ("patchy", "glyphs", "full", 2):
                    continue
                value = accuracy(method, dataset, shots, seed)
                metrics = {"test/accuracy": value, "test/nll": float("nan") if seed else 1.0, "curve/train_loss": 0.3}
                cell = f"{method[:4]}-{dataset}-{shots}-{seed}"
                told = params(method, dataset, shots, seed)
                writer.run(cell, told, metrics, tags=PROVENANCE, record=record(value, method, seed))
    for seed in (0, 1):
        told = params("protonet", "glyphs", "1", seed, protocol="episodic", backbone_label="conv4/random")
        scores = {"test/accuracy": 0.7 + seed / 10, "test/accuracy_ci95": 0.03 + seed / 100}
        writer.run(f"protonet-{seed}", told | {"option.ways": "5"}, scores, tags=PROVENANCE)
    told = params("maml", "glyphs", "1", 0, protocol="episodic", backbone_label="conv4/random")
    tags = PROVENANCE | {"tlbench.transductive": "true"}
    writer.run("maml-0", told | {"option.ways": "5"}, {"test/accuracy": 0.6}, tags=tags)
    _mishaps(writer, client)


def _mishaps(writer: Writer, client: Any) -> None:
    good = {"test/accuracy": 0.123}
    told = params("patchy", "glyphs", "full", 2)
    broken = {"outcome": None, "error": {"type": "ValueError", "message": "", "traceback": TRACEBACK}}
    writer.run("patc-glyphs-full-2", told, {}, status="FAILED", tags={"tlbench.error": BOOM}, record=broken)
    told = params("linear_probe", "digits", "1", 0)
    writer.run("line-digits-1-0", told, {}, status="FAILED", tags={"tlbench.error": "first attempt"})
    writer.run("orphan", params("linear_probe", "digits", "1", 7), good, status=None)
    client.delete_run(writer.run("deleted", params("linear_probe", "digits", "1", 8), good))
    foreign = client.create_run(client.get_experiment_by_name("demo").experiment_id)
    client.set_terminated(foreign.info.run_id, "FINISHED")
    twin = {"test/accuracy": accuracy("linear_probe", "digits", "1", 1)}
    writer.run("line-digits-1-1", params("linear_probe", "digits", "1", 1), twin, tags=PROVENANCE)
