"""What labels of a budget choose something, and that every label is fitted to in the end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlbench.core.errors import UserError
from tlbench.core.info import Shots, TaskInfo
from tlbench.core.label_budget import folds_of_choices, without_validation_labels
from tlbench.core.record import Outcome
from tlbench.data.dataset import TRAIN, VAL, Dataset, Task
from tlbench.data.sampling import check_shots
from tlbench.plugins import registry
from tlbench.protocols import classification
from tlbench.testing import protocol_contract as contract
from tlbench.testing.fakes import fake_backbone, fake_context, fake_dataset
from tlbench.training.context import Context
from tlbench.training.validation_scores import ValidationScores, by_likelihood

CLASSES = 10
OPTIONS: list[dict[str, Any]] = [
    {},
    {"validation": "held_out"},
    {"validation": "held_out", "refit": False},
    {"validation": "k_fold"},
    {"validation": "none"},
    {"validation": {"extra": 1}},
    {"validation": {"extra": 1}, "refit": True},
]


class Recorder:
    """A method that keeps the tasks it is fitted to, and offers candidates of made scores in fits that choose."""

    def __init__(self, dataset: Dataset, ctx: Context, scores: list[dict[float, ValidationScores]] | None = None):
        self.dataset, self.ctx, self.scores = dataset, ctx, scores or []
        self.tasks: list[Task] = []
        self.choosing: list[Context | None] = []

    def __call__(self, task: Task, own: Context | None = None) -> Any:
        self.tasks.append(task)
        self.choosing.append(own)
        if own is not None and self.scores:
            own.choose("C", self.scores[len(self.tasks) - 1], by_likelihood)
        return contract.ClassMeans(task, self.ctx, fake_backbone().eval(), 1.0)


def run(
    folder: Path, shots: Shots, options: dict[str, Any], dataset: Dataset | None = None, **more: Any
) -> tuple[Recorder, Outcome]:
    dataset = dataset or fake_dataset()
    scores = more.pop("scores", None)
    ctx = fake_context(folder, dataset, fake_backbone().eval(), **more)
    recorder = Recorder(dataset, ctx, scores)
    full = classification.Options(**options).model_dump(mode="json")
    info = TaskInfo("classification", dataset.info, shots, CLASSES, full)
    outcome = classification.run(info, dataset, 3, recorder, ctx)
    assert outcome is not None
    return recorder, outcome


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("check", contract.CHECKS, ids=contract.title)
def test_all_of_them_keep_the_contract(check: Any, options: dict[str, Any], tmp_path: Path) -> None:
    check(contract.Case("classification", options), tmp_path)


@pytest.mark.parametrize(
    ("options", "train", "val", "fits"),
    [
        ({}, 5, 0, 1),
        ({"validation": "none"}, 5, 0, 1),
        ({"validation": "held_out"}, 5, 0, 2),
        ({"validation": "held_out", "refit": False}, 4, 1, 1),
        ({"validation": "k_fold"}, 5, 0, 6),
        ({"validation": {"extra": 2}}, 5, 2, 1),
        ({"validation": {"extra": 2}, "refit": True}, 7, 0, 2),
    ],
    ids=str,
)
def test_every_label_is_fitted_to_unless_the_suite_says_otherwise(
    options: dict[str, Any], train: int, val: int, fits: int, tmp_path: Path
) -> None:
    recorder, _ = run(tmp_path, 5, options)
    last = recorder.tasks[-1]
    assert np.bincount(last.train.labels).tolist() == [train] * CLASSES
    assert (0 if last.val is None else len(last.val)) == val * CLASSES
    assert len(recorder.tasks) == fits
    assert [own is None for own in recorder.choosing] == [False] * (fits - 1) + [True]
    assert (last.folds is not None) == (options == {})
    for task in recorder.tasks[:-1]:
        assert task.val is not None
        assert set(task.train.rows) | set(task.val.rows) == set(last.train.rows)


def test_the_same_labels_are_drawn_whatever_they_are_for(tmp_path: Path) -> None:
    drawn = []
    for number, options in enumerate(OPTIONS[:5]):
        task = run(tmp_path / str(number), 5, options)[0].tasks[-1]
        drawn.append(sorted([*task.train.rows, *([] if task.val is None else task.val.rows)]))
    assert all(one == other for one, other in pairwise(drawn))


def test_folds_of_a_budget_score_each_label_once(tmp_path: Path) -> None:
    recorder, _ = run(tmp_path, 5, {"validation": "k_fold"})
    scored = np.concatenate([task.val.rows for task in recorder.tasks[:-1] if task.val is not None])
    assert sorted(scored) == sorted(recorder.tasks[-1].train.rows)
    folds = run(tmp_path / "auto", 5, {})[0].tasks[-1].folds
    assert folds is not None
    assert np.bincount(folds).tolist() == [CLASSES] * 5


def test_what_is_best_on_average_over_the_folds_is_fixed_for_the_last_fit(tmp_path: Path) -> None:
    good, fair, bad = ValidationScores(0.5, 1.0), ValidationScores(0.5, 1.1), ValidationScores(0.9, 3.0)
    one = {0.1: bad, 1.0: fair, 10.0: good, 100.0: good}
    other = {0.1: good, 1.0: fair, 10.0: bad}  # 100 is no candidate here
    recorder, outcome = run(tmp_path, 2, {"validation": "k_fold"}, scores=[one, other])
    assert recorder.ctx.fixed == {"C": 1.0}
    assert outcome.validation == pytest.approx({"accuracy": 0.5, "nll": 1.1})
    roots = [own.random_root for own in recorder.choosing if own is not None]
    assert len({*roots, recorder.ctx.random_root}) == 3


def test_one_label_of_a_class_chooses_nothing(tmp_path: Path) -> None:
    for number, options in enumerate(OPTIONS[:5]):
        recorder, _ = run(tmp_path / str(number), 1, options)
        (task,) = recorder.tasks
        assert (task.val, task.folds) == (None, None)
        assert len(task.train) == CLASSES


def test_a_validation_part_that_the_source_ships_is_never_fitted_to(tmp_path: Path) -> None:
    dataset = fake_dataset()
    part = dataset.part.copy()
    part[dataset.rows(TRAIN)[::7]] = VAL
    dataset = replace(dataset, part=part)
    for number, options in enumerate(OPTIONS[:5]):
        recorder, _ = run(tmp_path / str(number), "full", options, dataset)
        (task,) = recorder.tasks
        assert sorted(task.train.rows) == sorted(dataset.rows(TRAIN))
        if options.get("validation") == "none":
            assert task.val is None
        else:
            assert task.val is not None
            assert sorted(task.val.rows) == sorted(dataset.rows(VAL))


def test_a_trial_is_fitted_as_the_cell_is_but_without_the_labels_that_score_it(tmp_path: Path) -> None:
    recorder, outcome = run(tmp_path, 10, {}, validation_only=True)
    (task,) = recorder.tasks
    assert task.val is None
    assert task.folds is not None
    followed = recorder.ctx.followed
    assert followed is not None
    assert outcome.answers is not None
    assert outcome.answers.count == len(followed) == 2 * CLASSES
    assert not set(followed.rows) & set(task.train.rows)
    recorder, _ = run(tmp_path / "none", 10, {"validation": "none"}, validation_only=True)
    assert recorder.tasks[0].folds is None
    recorder, _ = run(tmp_path / "held out", 10, {"validation": "held_out"}, validation_only=True)
    assert recorder.tasks[0].val is not None
    assert recorder.ctx.followed is None


def test_a_training_follows_examples_without_choosing_by_them(tmp_path: Path) -> None:
    dataset = fake_dataset()
    module = registry.declaration("methods", "finetune").load()
    info = TaskInfo("classification", dataset.info, 5, CLASSES, {})
    split = classification.draw(info, dataset, 0)
    assert split.val is not None

    def fit(task: Task, lr: float = 0.03, **context: Any) -> tuple[Context, torch.Tensor]:
        ctx = fake_context(tmp_path, dataset, fake_backbone(), checkpoints=None, **context)
        torch.manual_seed(0)
        predictor = module.fit(task, fake_backbone(), module.Config(epochs=6, lr=lr), ctx)
        return ctx, predictor.logits(torch.from_numpy(split.val.x)).detach()

    lr = next(lr for lr in (0.03, 0.1, 0.3, 1.0) if fit(split, lr)[0].selected["epoch"] < 5)  # or it would show nothing
    plain, last = fit(replace(split, val=None), lr)
    followed, same = fit(replace(split, val=None), lr, followed=split.val)
    chosen, best = fit(split, lr)
    assert torch.equal(last, same)
    assert not plain.curves.get("val_accuracy")
    assert len(followed.curves["val_accuracy"]) == 6
    assert "epoch" not in followed.selected
    assert followed.curves["val_nll"] == chosen.curves["val_nll"]
    epoch = chosen.selected["epoch"]
    assert chosen.candidates["epoch"].best == epoch
    refitted, fixed = fit(replace(split, val=None), lr, fixed={"epoch": epoch})
    assert torch.equal(fixed, best)
    assert refitted.selected["epoch"] == epoch
    assert len(refitted.curves["train_loss"]) == epoch + 1


def test_few_labels_choose_in_folds_and_many_on_one_part() -> None:
    assert folds_of_choices([1, 5]) == 0
    assert folds_of_choices([3, 5]) == 3
    assert folds_of_choices([20] * 10) == 5
    assert folds_of_choices([1000] * 10) == 1


def test_a_teacher_of_a_trial_is_not_fitted_to_what_the_trial_is_validated_on() -> None:
    options = classification.Options().model_dump(mode="json")
    assert without_validation_labels(options) == {"validation": "held_out", "refit": False}
    extra = classification.Options(validation={"extra": 3}).model_dump(mode="json")
    assert without_validation_labels(extra) == extra
    assert without_validation_labels({"ways": 5}) == {"ways": 5}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"refit": False}, "validation: auto"),
        ({"validation": "k_fold", "refit": False}, "validation: k_fold"),
        ({"validation": "none", "refit": True}, "validation: none"),
        ({"validation": {"extra": 0}}, "greater than or equal to 1"),
        ({"validation": "kfold"}, "k_fold"),
    ],
    ids=str,
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        classification.Options(**options)


def test_labels_beside_the_shots_are_counted(tmp_path: Path) -> None:
    info = fake_dataset().info
    least = min(info.counts["train"])
    check_shots(info, least - 2, extra=2)
    with pytest.raises(UserError, match=f"extra: 3 needs {least + 1}"):
        check_shots(info, least - 2, extra=3)
    with pytest.raises(UserError, match="full"):
        check_shots(info, "full", extra=3)
