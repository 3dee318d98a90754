"""Validation by whole groups: no group on both sides, budgets, nesting, and what happens where groups are too few."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.data import decoded
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, Dataset, Task
from tlbench.data.decoded import Decoded, fingerprint
from tlbench.data.sampling import draw_shots
from tlbench.data.sources import pair
from tlbench.data.validation_groups import classes_mixed, groups_apart
from tlbench.protocols import adaptation, classification
from tlbench.store.artifacts import Artifacts
from tlbench.testing.fakes import FakeTeacher, fake_dataset
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor

CLASSES, EACH = 5, 50
LABELS = np.repeat(np.arange(CLASSES), EACH)
POOL = np.flatnonzero(np.arange(len(LABELS)) % EACH < 40)
FP, FQ = (DatasetInfo("toy", "image", fingerprint, (), (1, 8, 8), {}) for fingerprint in ("fp", "fq"))


def grouped(size: int) -> Any:
    """Groups of ``size`` neighbours, which never share a class."""
    return np.arange(len(LABELS)) // size


@given(shots=st.integers(1, 40), seed=st.integers(0, 99), size=st.sampled_from([1, 2, 5]))
@settings(max_examples=40, deadline=None)
def test_the_budget_is_exact_and_no_group_stands_on_both_sides(shots: int, seed: int, size: int) -> None:
    groups = grouped(size)
    draw = draw_shots(LABELS, POOL, shots, seed, FP, groups=groups)
    held = 0 if shots == 1 else max(1, round(0.2 * shots))
    assert (np.bincount(LABELS[draw.train], minlength=CLASSES) == shots - held).all()
    assert (np.bincount(LABELS[draw.val], minlength=CLASSES) == held).all()
    assert sorted([*draw.train, *draw.val, *draw.unlabeled]) == sorted(POOL)
    if shots <= 34:  # beyond, of eight groups of five, one more or less than a fifth makes the difference
        assert not set(groups[draw.train]) & set(groups[draw.val])
        assert not len(classes_mixed(LABELS, groups, draw.train, draw.val))


def test_budgets_nest_and_so_do_both_of_their_parts() -> None:
    draws = [draw_shots(LABELS, POOL, shots, 3, FP, groups=grouped(5)) for shots in range(1, 41)]
    for small, large in pairwise(draws):
        assert set(small.train) <= set(large.train)
        assert set(small.val) <= set(large.val)
    full = draw_shots(LABELS, POOL, "full", 3, FP, groups=grouped(5))
    few = draw_shots(LABELS, POOL, 30, 3, FP, groups=grouped(5))
    assert set(few.train) < set(full.train)


def test_of_full_whole_groups_of_about_a_tenth_are_for_validation() -> None:
    groups = grouped(4)
    draw = draw_shots(LABELS, POOL, "full", 0, FP, groups=groups)
    assert sorted([*draw.train, *draw.val]) == sorted(POOL)
    assert not set(groups[draw.train]) & set(groups[draw.val])
    assert (np.bincount(LABELS[draw.val]) == 4).all()
    own = np.setdiff1d(np.arange(len(LABELS)), POOL)
    draw = draw_shots(LABELS, POOL, "full", 0, FP, groups=groups, source_val=own)
    assert np.array_equal(draw.train, POOL)
    assert np.array_equal(draw.val, own)


def test_the_draw_depends_on_seed_and_fingerprint_and_nothing_else() -> None:
    groups = grouped(5)
    first = draw_shots(LABELS, POOL, 10, 0, FP, groups=groups)
    again = draw_shots(LABELS, POOL[::-1].copy(), 10, 0, FP, groups=groups)
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.val, again.val)
    for other in (
        draw_shots(LABELS, POOL, 10, 1, FP, groups=groups),
        draw_shots(LABELS, POOL, 10, 0, FQ, groups=groups),
    ):
        assert set(groups[first.val]) != set(groups[other.val])
    code = (
        "import json, numpy as np; from tlbench.data.sampling import draw_shots\n"
        "from tlbench.core.info import DatasetInfo\n"
        f"labels = np.repeat(np.arange({CLASSES}), {EACH})\n"
        f"pool = np.flatnonzero(np.arange(len(labels)) % {EACH} < 40)\n"
        'info = DatasetInfo("toy", "image", "fp", (), (1, 8, 8), {})\n'
        "d = draw_shots(labels, pool, 10, 0, info, groups=np.arange(len(labels)) // 5)\n"
        "print(json.dumps([d.train.tolist(), d.val.tolist()]))"
    )
    found = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert json.loads(found.stdout) == [first.train.tolist(), first.val.tolist()]


def test_every_group_is_held_out_now_and_then() -> None:
    groups, times = grouped(5), np.zeros(CLASSES * EACH // 5)
    for seed in range(200):
        draw = draw_shots(LABELS, POOL, 30, seed, FP, groups=groups)
        times[np.unique(groups[draw.val])] += 1
    # Two of eight groups of a class are held out, and their six validation examples stand in both with chance 0.995.
    expected = 200 * 2 / 8
    assert abs(times[np.unique(groups[POOL])] - expected).max() < 5 * np.sqrt(expected * 6 / 8)
    assert times.sum() == times[np.unique(groups[POOL])].sum()


def test_a_class_with_too_few_groups_is_split_by_example_and_told() -> None:
    groups = grouped(5).copy()
    groups[LABELS == 2] = 1000
    for shots in (10, "full"):
        draw = draw_shots(LABELS, POOL, shots, 0, FP, groups=groups)
        assert classes_mixed(LABELS, groups, draw.train, draw.val).tolist() == [2]
        assert (np.bincount(LABELS[draw.val]) == (2 if shots == 10 else [5, 5, 4, 5, 5])).all()
    groups[np.flatnonzero(LABELS == 2)[:3]] = 1001  # three examples: enough for the validation of ten shots
    few, more = (draw_shots(LABELS, POOL, shots, 0, FP, groups=groups) for shots in (10, 25))
    assert classes_mixed(LABELS, groups, few.train, few.val).tolist() == []
    assert set(groups[few.val[LABELS[few.val] == 2]]) == {1001}
    assert classes_mixed(LABELS, groups, more.train, more.val).tolist() == [2]
    assert sorted(groups[more.val[LABELS[more.val] == 2]]) == [1000, 1000, 1001, 1001, 1001]


@given(seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_group_of_several_classes_stands_on_one_side_in_all_of_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 4, 400), rng.integers(0, 30, 400)
    draw = draw_shots(labels, np.arange(400), 20, seed, FP, groups=groups)
    mixed = classes_mixed(labels, groups, draw.train, draw.val)
    apart = [rows[~np.isin(labels[rows], mixed)] for rows in (draw.train, draw.val)]
    assert not set(groups[apart[0]]) & set(groups[apart[1]])
    assert len(mixed) == 0 or len(np.unique(groups[np.isin(labels, mixed)])) < 30


@pytest.mark.parametrize("seed", range(5))
def test_a_class_does_not_take_the_groups_that_another_trains_on(seed: int) -> None:
    labels = np.repeat([0, 1], 10)
    groups = np.array([0] * 8 + [1] * 2 + [0] * 2 + [2] * 8)  # the first is all that the first class can train on
    draw = draw_shots(labels, np.arange(20), 2, seed, FP, groups=groups)
    assert set(groups[draw.train]) == {0}
    assert sorted(groups[draw.val]) == [1, 2]
    groups[:10] = 0
    draw = draw_shots(labels, np.arange(20), 2, seed, FP, groups=groups)
    assert classes_mixed(labels, groups, draw.train, draw.val).tolist() == [0], "which has no other group"


def test_of_two_fractions_the_groups_of_the_smaller_are_among_those_of_the_larger() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), rng.integers(1, 15, 60))
    labels = groups % 3
    tenth, fifth = (groups_apart(labels, groups, fractions, 5) for fractions in ((0.1,), (0.1, 0.2)))
    assert not (tenth & ~fifth).any()
    for label in range(3):
        of_class = labels == label
        assert abs(tenth[of_class].mean() - 0.1) < 0.03
        assert abs(fifth[of_class].mean() - 0.2) < 0.03
    assert all(len(np.unique(fifth[groups == group])) == 1 for group in range(60))


def test_without_groups_draws_are_what_they_have_always_been() -> None:
    draw = draw_shots(np.repeat(np.arange(3), 12), np.arange(36), 5, 7, FP)
    assert draw.train.tolist() == [0, 7, 8, 9, 14, 17, 20, 23, 26, 27, 29, 35]
    assert draw.val.tolist() == [3, 13, 31]


def test_groups_are_kept_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    x, y, part = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 0, 1, 1]), np.zeros(4, np.uint8)
    without = Decoded(x=x, y=y, part=part, classes=("a", "b"))
    given = replace(without, group=np.array([0, 1, 2, 2]))
    others = (without, given, replace(given, group=np.array([0, 0, 1, 1])), replace(without, domain=given.group))
    assert len({fingerprint(each) for each in others}) == 4
    for each, name in ((without, "without"), (given, "given")):
        (tmp_path / name).mkdir()
        decoded.save(each, name, tmp_path / name)
    found = decoded.load(tmp_path / "given").group
    assert found is not None
    assert found.tolist() == [0, 1, 2, 2]
    assert decoded.load(tmp_path / "without").group is None


def files(dataset: Dataset) -> Any:
    """Files of five training examples, and of others for testing."""
    return replace(dataset, group=np.arange(len(dataset.y)) // 2)


def run(dataset: Dataset, shots: int | str) -> tuple[Task, tuple[str, ...]]:
    seen: list[Task] = []

    def fit(task: Task, ctx: Context | None = None) -> ModulePredictor:
        seen.append(task)
        return ModulePredictor(FakeTeacher(dataset), [])

    info = TaskInfo("classification", dataset.info, shots, 10, {})
    outcome = classification.run(info, dataset, 0, fit, Context(random_root="groups", device=torch.device("cpu")))
    assert outcome is not None
    return seen[0], outcome.notes


def test_classification_keeps_groups_apart_and_tells_where_it_cannot() -> None:
    plain = fake_dataset()
    dataset = files(plain)
    task, notes = run(dataset, 5)
    assert task.folds is not None
    for fold in range(5):
        inside, outside = task.train.rows[task.folds == fold], task.train.rows[task.folds != fold]
        assert not set(dataset.group[inside]) & set(dataset.group[outside])
    assert notes == ()
    one = replace(dataset, group=np.where(dataset.y == 3, 10_000, dataset.group))
    assert run(one, 5)[1] == ("validation has examples of groups that are trained on, for want of others: class 3",)
    assert run(plain, 5)[1] == run(one, 1)[1] == ()


def test_adaptation_labels_the_examples_that_classification_does(tmp_path: Path) -> None:
    source, target = fake_dataset(seed=1), files(fake_dataset())
    params = pair.Params.model_validate({"source": "fake", "target": "fake"})
    joined = pair.join(source, target, params, tmp_path)
    assert joined.group is not None
    assert joined.group[len(source.y) :].tolist() == target.group.tolist()
    assert len(np.unique(joined.group)) == len(source.y) + len(np.unique(target.group))
    dataset = Dataset(
        replace(target.info, fingerprint="pair"), joined.x, joined.y, joined.part, joined.domain, group=joined.group
    )
    options = adaptation.Options().model_dump()
    given = adaptation.draw(TaskInfo("adaptation", dataset.info, 5, 10, options), dataset, 1).train.rows
    task = classification.draw(TaskInfo("classification", dataset.info, 5, 10, {}), dataset, 1)
    assert task.val is not None
    assert set(given) == set(task.train.rows) | set(task.val.rows)


def test_files_of_documentation_are_its_groups(decoded: Path) -> None:
    dataset = open_dataset("pydocs", {}, Artifacts(decoded))
    groups = dataset.group
    assert groups is not None
    for group in np.unique(groups):
        assert len(np.unique(dataset.y[groups == group])) == len(np.unique(dataset.part[groups == group])) == 1
    assert 100 < len(np.unique(groups)) < 500
    for shots in (5, 20, 50, "full"):
        draw = draw_shots(dataset.y, dataset.rows(TRAIN), shots, 0, dataset.info, groups=groups)
        assert not set(groups[draw.train]) & set(groups[draw.val])
        assert not set(groups[draw.val]) & set(groups[dataset.rows(TEST)])
        if shots == "full":
            held = np.bincount(dataset.y[draw.val]) / np.bincount(dataset.y[dataset.rows(TRAIN)])
            assert 0.05 < np.median(held) < 0.15
