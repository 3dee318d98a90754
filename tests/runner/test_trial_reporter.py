"""What a trial in folds reports: at which folds a scheduler looks at it, and what stands if it ends there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from searched_suites import answered, prepared

from tlbench.core.record import STOPPED, Footprint, Outcome, Record
from tlbench.core.resources import Resources
from tlbench.runner.tune_trial import TrialProcess, TrialReporter, TrialTask
from tlbench.runner.worker_location import WorkerLocation
from tlbench.search.objective import VALUE_CURVE, Criterion, is_complete, validation_value
from tlbench.search.scheduler import scheduler
from tlbench.store.artifacts import Artifacts
from tlbench.worker.cache import WorkerCache
from tlbench.worker.cost_meter import CostMeter


class Ended(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "looked_at"),
    [
        ("none", {}),
        ("asha", {1: [1], 2: [3]}),
        ("median", {1: [1], 2: [2, 3], 3: [4, 5], 4: [6, 7]}),
    ],
)
@pytest.mark.parametrize("last", [None, 2])
def test_a_scheduler_looks_at_a_trial_between_folds(
    name: str, looked_at: dict[int, list[int]], last: int | None, tmp_path: Path, decoded: Path
) -> None:
    """Ninth n lies behind fold f of five where n / 9 <= f / 5; nothing is reported of the last fold but the end."""
    problem, *_ = prepared(tmp_path, decoded, scheduler=name).searches.problems.values()
    cell = problem.trial(3, problem.space.start)
    assert problem.folds == 5
    cache = WorkerCache(Artifacts(decoded), torch.device("cpu"))
    task = TrialTask(str(decoded), Resources(), {problem.key: problem}, scheduler(name).checkpoints)
    reports: list[dict[str, Any]] = []

    def report(told: dict[str, Any]) -> None:
        reports.append(told)
        if last is not None and told["share"] == looked_at.get(last, [0])[-1]:
            raise Ended

    reporter = TrialReporter(cell, TrialProcess(cache, WorkerLocation("node", "store", 1)), task, report)
    reporter.on_begin(CostMeter(cache.device))
    seen: dict[int, list[int]] = {}
    for fold in range(1, 6):
        right = [1] * (10 * fold - 3) + [0] * 3
        so_far = Outcome(
            scores={},
            validation={"accuracy": sum(right) / len(right), "nll": 1.0},
            answers=answered(right),
            footprint=Footprint(trainable=1, total=1, stored_bytes=1),
        )
        before = len(reports)
        try:
            reporter.on_fold(fold, 5, so_far)
        except Ended:
            record = Record.model_validate_json(reports[-1]["record"])
            assert record.outcome is not None
            assert record.outcome.selected == {STOPPED: 0.4}
            assert [ninth for ninth, _ in record.outcome.curves[VALUE_CURVE]] == [
                n for f in (1, 2) for n in looked_at[f]
            ]
            assert not is_complete(record)
            return
        if len(reports) > before:
            seen[fold] = [told["share"] for told in reports[before:]]
            assert {told["value"] for told in reports[before:]} == {
                validation_value(so_far.validation, Criterion("accuracy"))
            }
    assert seen == looked_at
