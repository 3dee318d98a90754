"""Results made in memory, as if they had been read from MLflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from demo_suite import params

from tlbench.core.record import pack_bits
from tlbench.report.results import Results, tidy
from tlbench.store.mlflow.record_artifact import RecordDetails
from tlbench.store.mlflow.stored_experiment import StoredExperiment, StoredRun


def run(
    method: str,
    accuracy: float,
    seed: int = 0,
    dataset: str = "digits",
    shots: str = "5",
    correct: Any = None,
    group: int = 1,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    **changed: str,
) -> StoredRun:
    """Return a finished run; ``correct`` are its right and wrong answers."""
    told = params(method, dataset, shots, seed, **changed)
    name = "/".join(told[key] for key in ("protocol", "method_label", "backbone_label", "dataset", "shots", "seed"))
    details = None
    if correct is not None:
        bits = pack_bits(np.packbits(np.asarray(correct, bool)).tobytes())
        details = RecordDetails(bits=bits, tests=len(correct), group=group)
    return StoredRun(
        id=f"run of {name}",
        status="FINISHED",
        ended=1.0,
        params=told,
        tags={"tlbench.cell": name, "tlbench.digest": f"{accuracy}"} | (tags or {}),
        metrics={"test/accuracy": accuracy, "cost/seconds": 2.0} | (metrics or {}),
        details=details,
    )


def results(runs: Iterable[StoredRun], suite: str = "made", baseline: str = "", planned: int | None = None) -> Results:
    """Return runs as a suite's results."""
    tags = {"tlbench.baseline": baseline, "tlbench.suite": f"name: {suite}\n"}
    if planned is not None:
        tags["tlbench.plan"] = f'{{"cells": {planned}}}'
    return tidy(suite, "memory", StoredExperiment(tags, tuple(runs)))
