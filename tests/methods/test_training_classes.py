"""Methods that train on episodes, where classes are few or small: refused in the plan, or said in the record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tlbench.core.errors import UserError
from tlbench.data.dataset import Split
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, FakeTask, fake_backbone, fake_context, fake_task
from tlbench.training.context import Context

FIXED, OPEN = ("maml", "anil"), ("protonet", "meta_baseline")
WAYS = 7  # more than the six training classes


def _task(ways: int = 2, shots: int = 5) -> FakeTask:
    fake = fake_task("episodic", shots=shots)
    return replace(fake, task=replace(fake.task, info=replace(fake.task.info, classes=ways)))


def _refusal(method: str, fake: FakeTask, **params: Any) -> str | None:
    """What the method's declaration says to the plan."""
    declared = registry.declaration("methods", method)
    assert declared.skip is not None
    return declared.skip(fake.task.info, fake_backbone().info, declared.settings(**params))


def _fit(method: str, fake: FakeTask, **params: Any) -> Context:
    declared, ctx = registry.declaration("methods", method), Context(random_root="c", device=CPU)
    module = declared.load()
    short = {"episodes": 2, "check_every": 1, "checks": 2, **({"epochs": 0} if method == "meta_baseline" else {})}
    module.fit(fake.task, fake_backbone(), module.Config(**{**short, **params}), ctx)
    return ctx


@pytest.mark.parametrize("method", FIXED)
def test_a_head_of_more_ways_than_there_are_training_classes_is_refused(method: str) -> None:
    reason = _refusal(method, _task(WAYS))
    assert reason is not None
    assert reason.startswith("training episodes need 7 classes with 10 examples")
    assert reason.endswith("but 6 of 6 training classes have as many")
    with pytest.raises(UserError) as caught:
        _fit(method, _task(WAYS))
    assert caught.value.message == f"fake: {reason}"
    assert "fewer ways" in caught.value.hint
    assert _refusal(method, _task(6)) is None
    assert _fit(method, _task(6)).notes == []


@pytest.mark.parametrize("method", OPEN)
def test_fewer_ways_in_training_are_said(method: str) -> None:
    assert _refusal(method, _task(WAYS)) is None
    notes = _fit(method, _task(WAYS), ways=20, queries=5).notes
    assert notes == ["training episodes have 6 ways, not 20: there are no more training classes with 10 examples"]
    assert _fit(method, _task(WAYS), ways=6, queries=5).notes == []


@pytest.mark.parametrize("method", [*FIXED, *OPEN])
def test_classes_too_small_are_refused_in_the_plan_and_in_the_same_words(method: str) -> None:
    assert _refusal(method, _task(shots=5), queries=15) is None
    reason = _refusal(method, _task(shots=6), queries=15)
    assert reason is not None
    assert "2 classes with 21 examples (6 shots and 15 queries), but 0 of 6" in reason
    with pytest.raises(UserError) as caught:
        _fit(method, _task(shots=6), queries=15)
    assert caught.value.message == f"fake: {reason}"


def test_meta_baseline_trains_no_classifier_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any) -> None:
        raise AssertionError("the first training has begun")

    monkeypatch.setattr(registry.declaration("methods", "meta_baseline").load(), "train_base_classifier", train)
    with pytest.raises(UserError, match="6 shots and 15 queries"):
        _fit("meta_baseline", _task(shots=6), epochs=3)


@pytest.mark.parametrize("method", [*FIXED, *OPEN, "baseline_pp", "nearest_centroid", "logistic_support", "finetune"])
def test_a_validation_that_cannot_be_is_said_once(method: str, tmp_path: Any) -> None:
    fake, declared = _task(), registry.declaration("methods", method)
    val = fake.task.val
    assert val is not None
    kept = np.flatnonzero((val.labels != 0) | (np.arange(len(val)) < 5))
    task = replace(fake.task, val=Split(val.x[kept], val.labels[kept], val.rows[kept]))
    module, backbone = declared.load(), fake_backbone()
    ctx = fake_context(tmp_path, fake.dataset, backbone)
    short = {"episodes": 2, "check_every": 1, "ways": 2, "epochs": 1}
    params = {name: value for name, value in short.items() if name in module.Config.model_fields}
    module.fit(task, backbone, module.Config(**params), ctx)
    assert ctx.notes == ["fewer than two validation classes have 6 examples: nothing was selected"]
    assert ctx.validation == {}
