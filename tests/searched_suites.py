"""Suites with a search, prepared, and records of trials with given scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from small_suites import suite

from tlbench.core.record import Cost, Outcome, Record, ValidationAnswers, pack_bits
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.search.problem import SearchProblem
from tlbench.store.artifacts import Artifacts


def prepared(folder: Path, artifacts: Path, grid: dict[str, Any] | None = None, **search: Any) -> PreparedSuite:
    path = folder / "searched.yaml"
    few = {"methods": ["finetune", "linear_probe"], **(grid or {})}
    path.write_text(json.dumps(suite("searched", few, search={"trials": 6, "scheduler": "none", **search})))
    return prepare(path, Artifacts(artifacts))


def answered(right: Sequence[int], group: int = 1) -> ValidationAnswers:
    """Answers on validation, each 1 where it was right and 0 where it was wrong."""
    bits = np.packbits(np.asarray(right, bool)).tobytes()
    return ValidationAnswers(count=len(right), correct=pack_bits(bits), group=group)


def ended(setting: SearchProblem, number: int, values: dict[str, Any], accuracy: float | None, **more: Any) -> Record:
    """A trial's record with a given validation accuracy; None is a failure."""
    outcome = None
    if accuracy is not None:
        validation = {} if accuracy < 0 else {"accuracy": accuracy, "nll": more.get("nll", 1.0)}
        answers = answered(more["right"], more.get("group", 1)) if "right" in more else None
        outcome = Outcome(scores={}, validation=validation, selected=more.get("selected", {}), answers=answers)
    seconds = more.get("seconds", 1.0)
    cost = Cost(
        seconds=seconds, train_seconds=seconds, cpu_seconds=0, peak_memory=0, gpus=0, cpus=1, started=0.0,
        device_seconds=more.get("billed"),
    )  # fmt: skip
    status = "failed" if accuracy is None else "done"
    return Record(cell=setting.trial(number, values).describe(), status=status, outcome=outcome, cost=cost)
