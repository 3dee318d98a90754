"""The classes of episodes: how they are dealt, and which of them suffice to train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlbench.core.class_splits import deal_classes, forbids_training, too_few
from tlbench.core.hashing import derive_seed
from tlbench.core.info import DatasetInfo, Shots, TaskInfo


def task(train: tuple[int, ...], test: tuple[int, ...], shots: Shots, **more: Any) -> TaskInfo:
    """A task on classes with so many examples in each part."""
    names = tuple(f"class {label}" for label in range(len(train)))
    dataset = DatasetInfo("toy", "image", "fp", names, (1, 8, 8), {"train": train, "test": test}, **more)
    return TaskInfo("episodic", dataset, shots, 5, {})


def test_classes_are_dealt_in_the_order_of_raw_random_numbers() -> None:
    """As in all versions before: a class that changed sides would make stored results wrong."""
    dealt = deal_classes(task((9,) * 23, (9,) * 23, 1).dataset)
    order = np.argsort(np.random.PCG64(derive_seed("class split", "fp")).random_raw(23), kind="stable").tolist()
    assert [set(dealt[part]) for part in ("test", "val", "train")] == [
        set(order[:5]),
        set(order[5:10]),
        set(order[10:]),
    ]
    assert all(list(labels) == sorted(labels) for labels in dealt.values())


def test_examples_of_all_parts_count_in_training_classes_alone() -> None:
    splits = {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}
    posed = task((3, 3, 3, 3, 99, 99), (2, 2, 1, 9, 99, 99), 1, class_splits=splits)
    assert forbids_training(posed, 4) is None
    assert forbids_training(posed, 4, ways=2) is None
    assert forbids_training(posed, 4, ways=3) == (
        "training episodes need 3 classes with 5 examples (1 shots and 4 queries), "
        "but 2 of 3 training classes have as many"
    )
    assert forbids_training(posed, 3, ways=3) is None
    assert "need 2 classes with 6 examples" in str(forbids_training(posed, 5))


def test_classes_that_are_dealt_are_looked_at_too() -> None:
    names = range(20)
    dealt = deal_classes(task((1,) * 20, (1,) * 20, 1).dataset)
    large = tuple(8 if label in (*dealt["train"][:4], *dealt["val"], *dealt["test"]) else 1 for label in names)
    assert forbids_training(task(large, (1,) * 20, 1), 5, ways=4) is None
    assert "but 4 of 12 training classes" in str(forbids_training(task(large, (1,) * 20, 1), 5, ways=5))


def test_an_episode_has_a_number_of_shots() -> None:
    assert (
        forbids_training(task((9,) * 10, (9,) * 10, "full"), 1) == "an episode has a number of shots, not all examples"
    )


@pytest.mark.parametrize(("ways", "enough"), [(2, True), (3, True), (4, False)])
def test_as_many_classes_as_ways_are_enough(ways: int, enough: bool) -> None:
    assert (too_few([6, 5, 6, 6], 1, 5, ways) is None) is enough
