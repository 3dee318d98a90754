"""The classes of episodes: which of a dataset train, validate and test, and whether those to train on are enough."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tlbench.core.errors import UserError
from tlbench.core.hashing import derive_seed
from tlbench.core.info import DatasetInfo, TaskInfo

_HELD_OUT = 0.2
TEST_OF_TWO = "give 8 classes or more, or a split of classes that has two or more for the test"


def deal_classes(info: DatasetInfo) -> dict[str, tuple[int, ...]]:
    """Return the class labels of ``train``, ``val`` and ``test`` for episodic use.

    They are the source's own where it declares them; else 60%, 20% and 20% of the classes, dealt by the fingerprint
    alone, so that every method, seed and number of shots meets the same split.

    Raises:
        UserError: There are fewer than three classes.
    """
    if info.class_splits:
        return dict(info.class_splits)
    count = len(info.classes)
    if count < 3:
        raise UserError(
            f"{info.name}: {count} classes cannot be split into training, validation and test classes",
            TEST_OF_TWO,
        )
    order = _order(info.fingerprint, count)
    held = max(1, round(_HELD_OUT * count))
    return {
        "train": tuple(sorted(order[2 * held :])),
        "val": tuple(sorted(order[held : 2 * held])),
        "test": tuple(sorted(order[:held])),
    }


def forbids_training(task: TaskInfo, queries: int, ways: int = 2) -> str | None:
    """Say why no method can train on episodes of the training classes, if so; what its ``skip`` answers.

    Args:
        task: The task that it meets.
        queries: Queries of each class in a training episode.
        ways: Fewest classes in a training episode.
    """
    if task.shots == "full":
        return "an episode has a number of shots, not all examples"
    counts = [sum(parts) for parts in zip(*task.dataset.counts.values(), strict=True)]
    return too_few([counts[label] for label in deal_classes(task.dataset)["train"]], task.shots, queries, ways)


def too_few(counts: Sequence[int], shots: int, queries: int, ways: int) -> str | None:
    """Say why training episodes cannot be drawn from classes with so many examples each, if so."""
    enough = sum(count >= shots + queries for count in counts)
    if enough >= ways:
        return None
    return (
        f"training episodes need {ways} classes with {shots + queries} examples ({shots} shots and {queries} queries), "
        f"but {enough} of {len(counts)} training classes have as many"
    )


@cache
def _order(fingerprint: str, count: int) -> list[int]:
    from numpy.random import PCG64  # a declaration must stay readable without it

    keys = PCG64(derive_seed("class split", fingerprint)).random_raw(count).tolist()
    return sorted(range(count), key=keys.__getitem__)
