"""A sealed run, as a trial of a search is: it tells of validation, and nothing of the test decides any of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, Dataset, Task
from tlbench.plugins import registry
from tlbench.protocols import adaptation
from tlbench.search.objective import criterion_of, validation_value
from tlbench.testing.fakes import fake_backbone, fake_context, fake_task
from tlbench.training.context import Context

CASES = {
    "classification": ("finetune", {"epochs": 3}, {"validation": "held_out", "refit": False}),
    "episodic": ("protonet", {"episodes": 8, "check_every": 4, "checks": 5, "ways": 3}, {"ways": 2, "queries": 3}),
    "adaptation": ("mmd", {"steps": 6, "checks": 3, "bottleneck": 8}, {}),
}


def outcome(protocol: str, folder: Path, dataset: Dataset | None = None, **context: Any) -> Outcome:
    name, params, options = CASES[protocol]
    fake, backbone = fake_task(protocol), fake_backbone()
    module = registry.declaration("methods", name).load()
    ctx = fake_context(folder, fake.dataset, backbone, **context)
    torch.manual_seed(0)
    declared = registry.declaration("protocols", protocol)
    info = replace(fake.task.info, options={**declared.settings(**options).model_dump(mode="json")})
    config = module.Config(**params)

    def fit(task: Task, own: Context | None = None) -> object:
        return module.fit(task, backbone, config, own or ctx)

    found = declared.load().run(info, dataset or fake.dataset, 0, fit, ctx)
    assert isinstance(found, Outcome)
    return found


@pytest.mark.parametrize("protocol", CASES)
def test_the_test_decides_nothing_and_is_not_scored(protocol: str, tmp_path: Path) -> None:
    dataset = fake_task(protocol).dataset
    other = np.array(dataset.x)
    tested = dataset.part == TEST
    if protocol == "episodic":
        tested = np.isin(dataset.y, dataset.info.class_splits["test"])
    other[tested] = 255 - other[tested]
    spoilt = replace(dataset, x=other)
    first, second = (
        outcome(protocol, tmp_path / str(n), each, validation_only=True) for n, each in enumerate((dataset, spoilt))
    )
    assert first.selected == second.selected
    assert first.validation == pytest.approx(second.validation, rel=1e-2)  # some processors round by place
    for name, curve in first.curves.items():
        assert dict(curve) == pytest.approx(dict(second.curves[name]), rel=1e-2, abs=1e-3), name
    assert (first.scores, first.tests, first.correct, first.logits) == ({}, 0, "", "")
    assert first.footprint is not None


@pytest.mark.parametrize("protocol", CASES)
def test_validation_is_that_of_a_whole_run(protocol: str, tmp_path: Path) -> None:
    sealed = outcome(protocol, tmp_path / "sealed", validation_only=True)
    whole = outcome(protocol, tmp_path / "whole")
    if protocol == "episodic":  # a trial meets more episodes than its training does
        assert sealed.answers is not None
        assert (sealed.answers.count, sealed.answers.group) == (200 * 2 * 3, 2 * 3)
        assert sealed.validation["accuracy"] == pytest.approx(whole.validation["accuracy"], abs=0.2)
    else:
        assert sealed.validation == pytest.approx(whole.validation)
        assert whole.validation
    assert (sealed.answers is None) == (protocol == "adaptation")
    assert whole.answers is None
    assert sealed.selected.items() <= whole.selected.items()
    assert whole.scores


def test_an_adaptation_is_worth_what_its_validator_says(tmp_path: Path) -> None:
    sealed = outcome("adaptation", tmp_path, validation_only=True)
    assert sealed.selected["validator"] == adaptation.Options().validator
    assert sealed.selected["validator"] in sealed.validation
    value = validation_value(sealed.validation, criterion_of(adaptation.Options().model_dump()))
    assert value == sealed.validation[adaptation.Options().validator] != sealed.validation["oracle_on_target"]


def test_what_is_not_a_number_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="validation"):
        outcome("classification", tmp_path, validation_only=True, validation={"other": float("nan")})
