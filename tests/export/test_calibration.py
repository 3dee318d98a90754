"""Confidences are calibrated on examples that a model was not fitted to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import one_cell
from one_process import new_cache
from small_suites import FINETUNE

from tlbench.core.cell import task_info
from tlbench.data.dataset import TRAIN, Task, take
from tlbench.export.calibration import answers_of_folds, calibrate
from tlbench.training.context import Context


@pytest.mark.parametrize("given", [True, False])
def test_folds_are_answered_by_models_that_were_not_fitted_to_them(tmp_path: Path, decoded: Path, given: bool) -> None:
    cell, cache = one_cell(tmp_path, decoded, FINETUNE), new_cache(decoded)
    dataset = cache.read(cell.dataset, cell.backbone)
    rows = dataset.rows(TRAIN)[:200]
    folds = np.arange(200) % 3 if given else None
    task = Task(task_info(cell.protocol, cell.dataset.info, 5), take(dataset, rows, dataset.y[rows]), None, folds=folds)
    ctx = Context("root", torch.device("cpu"), selected={"k": 3})
    kept: list[Any] = []

    def fit(part: Task, own: Context | None = None) -> Any:
        assert own is not None
        assert own.fixed == {"k": 3}
        assert own.random_root != ctx.random_root
        assert part.val is None
        assert part.folds is None
        assert (part.train.labels == dataset.y[part.train.rows]).all()
        kept.append(part.train.rows)
        return SimpleNamespace(logits=lambda x: torch.nn.functional.one_hot(x[:, 0, 0, 0].long() * 0, 10).float())

    found = answers_of_folds(task, dataset, fit, ctx)
    assert len(found) == (3 if given else 5)
    assert sum(len(labels) for _, labels in found) == 200
    for others, (_, labels) in zip(kept, found, strict=True):
        own = np.setdiff1d(rows, others)
        assert len(others) + len(own) == 200
        assert (labels.numpy() == dataset.y[own]).all()


def test_what_it_rests_on_is_said() -> None:
    logits, labels = torch.tensor([[2.0, 0.0]] * 10), (torch.arange(10) >= 9).long()
    found = calibrate([(logits[:4], labels[:4]), (logits[4:], labels[4:])], "validation examples")
    assert found.temperature == pytest.approx(2 / np.log(9))
    assert (found.examples, found.said) == (10, "validation examples")
    without = calibrate([(logits[:9], labels[:9])], "validation examples")
    assert without.temperature is None
    assert "9 validation examples, all of them right" in without.said
