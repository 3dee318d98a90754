"""Which datasets are known to show characters, so that no image of theirs is mirrored."""

from __future__ import annotations

import pytest

from tlbench.core.image_kind import shows_characters
from tlbench.core.info import DatasetInfo, Modality


def info(classes: tuple[str, ...], origin: str = "", modality: Modality = "image") -> DatasetInfo:
    return DatasetInfo("d", modality, "f", classes, (3, 32, 32), {}, origin=origin)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (info(("dog", "cat"), "CIFAR10"), False),
        (info(("dog", "cat")), False),
        (info(("a", "dog"), "/data/pets"), False),
        (info(tuple("0123456789"), "/data/house_numbers"), True),
        (info(("class 1", "class 2"), "Omniglot"), True),
        (info(("speed limit", "stop"), "GTSRB"), True),
        (info(("zero", "one"), "SVHN/street"), True),
        (info(tuple("abc"), "", "text"), False),
        (info(()), False),
    ],
    ids=["photographs", "unknown", "one short name", "digits", "by name", "signs", "a domain", "texts", "no classes"],
)
def test_characters_are_known_by_the_set_or_by_their_classes(known: DatasetInfo, expected: bool) -> None:
    assert shows_characters(known) is expected
