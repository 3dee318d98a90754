"""Folds of labelled examples: each validates once, classes are spread evenly, and groups stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.core.info import DatasetInfo
from tlbench.core.label_budget import fold_count, validation_examples
from tlbench.data.folds import assign_folds
from tlbench.data.sampling import draw_shots


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 4), st.integers(0, 99))
def test_every_fold_has_its_share_of_every_class(count: int, classes: int, more: int, seed: int) -> None:
    labels = np.repeat(np.arange(classes), count + more)
    folds = assign_folds(labels, None, count, seed)
    table = np.zeros((classes, count), int)
    np.add.at(table, (labels, folds), 1)
    least = (count + more) // count
    assert set(np.unique(table)) <= {least, least + 1}
    assert np.ptp(table.sum(0)) <= 1
    assert (folds == assign_folds(labels, None, count, seed)).all()


def test_other_seeds_give_other_folds() -> None:
    labels = np.repeat(np.arange(3), 10)
    assert (assign_folds(labels, None, 5, 0) != assign_folds(labels, None, 5, 1)).any()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=30, max_size=60), st.integers(0, 99))
def test_groups_stay_together_unless_a_class_has_one(pairs: list[tuple[int, int]], seed: int) -> None:
    labels = np.asarray([label for label, _ in pairs])
    groups = np.asarray([4 * label + place for label, place in pairs])
    folds = assign_folds(labels, groups, 3, seed)
    assert set(np.unique(folds)) == {0, 1, 2}
    for label in np.unique(labels):
        own = labels == label
        found = np.unique(groups[own])
        if len(np.unique(labels)) > 1 or len(found) > 2:
            for group in found if len(found) > 1 else ():
                assert len(np.unique(folds[groups == group])) == 1
        assert len(np.unique(folds[own])) > 1 or own.sum() == 1, "never is a class in one fold only"


def test_fewer_groups_than_folds_are_not_kept_together() -> None:
    labels, groups = np.zeros(20, int), np.repeat([0, 1], 10)
    assert np.bincount(assign_folds(labels, groups, 5, 0)).tolist() == [4] * 5


def facts(train: tuple[int, ...], val: tuple[int, ...] = ()) -> DatasetInfo:
    counts = {"train": train, "test": train} | ({"val": val} if val else {})
    return DatasetInfo("d", "image", "f", tuple("abc"[: len(train)]), (1, 8, 8), counts)


@pytest.mark.parametrize(
    ("info", "shots", "examples", "folds"),
    [
        (facts((40, 50)), 1, 0, 1),
        (facts((40, 50)), 2, 2, 2),
        (facts((40, 50)), 4, 2, 4),
        (facts((40, 50)), 5, 2, 5),
        (facts((40, 50)), 20, 8, 5),
        (facts((40, 50)), "full", 9, 5),
        (facts((3, 50)), "full", 6, 3),
        (facts((40, 50), (24, 25)), "full", 49, 5),
        (facts((40, 50), (25, 25)), "full", 50, 1),
        (facts((500, 500)), "full", 100, 1),
        (facts((500, 500)), 125, 50, 1),
    ],
)
def test_folds_are_for_few_validation_examples(info: DatasetInfo, shots: int | str, examples: int, folds: int) -> None:
    assert validation_examples(info, shots) == examples  # type: ignore[arg-type]
    assert fold_count(info, shots, 50) == folds  # type: ignore[arg-type]
    assert fold_count(info, shots, 0) == 1  # type: ignore[arg-type]
    if not info.counts.get("val"):
        labels = np.repeat(np.arange(2), info.counts["train"])
        draw = draw_shots(labels, np.arange(len(labels)), shots, 0, info)  # type: ignore[arg-type]
        assert len(draw.val) == examples
