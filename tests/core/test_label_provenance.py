"""What two datasets of one origin share: whole sets, domains, other parameters, other classes, other folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tlbench.core.info import DatasetInfo
from tlbench.core.label_provenance import labels_shared, overlap, within

PHOTOS = within("/data/dom", "photo")


def info(origin: str = "", fingerprint: str = "f", classes: Sequence[str] = "ab", **facts: Any) -> DatasetInfo:
    plain = DatasetInfo("toy", "image", fingerprint, tuple(classes), (1, 8, 8), {}, origin=origin)
    return replace(plain, **facts)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("digits", "digits", True),
        ("digits", "rendered_digits", False),
        ("digits", "digits2", False),
        ("/data/dom", PHOTOS, True),
        (PHOTOS, within("/data/dom", "paint"), False),
        (PHOTOS, "/data/dom/photo", True),
        ("/data/dom/paint", PHOTOS, False),
        (PHOTOS, within("/data/dom", "photo2"), False),
        (within("talk.csv", "news"), within("talk.csv", "news/sport"), False),
        (within("", "photo"), within("", "photo"), False),
        ("", "digits", False),
        ("", "", False),
    ],
)
def test_places_overlap_where_one_lies_in_the_other(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) == overlap(other, one) == expected


def test_labels_are_shared_whatever_the_content_has_become() -> None:
    assert labels_shared(info("digits", "small"), info("digits", "large"))
    assert not labels_shared(info("digits", "f"), info("other", "g"))
    assert labels_shared(info("/here", "f"), info("/copied", "f")), "of one content"
    assert labels_shared(info(fingerprint="f"), info(fingerprint="pair", target="f"))
    assert labels_shared(info(fingerprint="f"), info(fingerprint="pair", target="f/photo"))
    assert not labels_shared(info(fingerprint="back", target="f/paint"), info(fingerprint="there", target="f/photo"))
    assert not labels_shared(info(fingerprint="x"), info(fingerprint="y")), "nothing is known of either"


def test_a_selection_shares_the_classes_that_it_names() -> None:
    assert labels_shared(info("glyphs", "x", "abc"), info("glyphs", "y", "cde"))
    assert not labels_shared(info("glyphs", "x", "abc"), info("glyphs", "y", "de"))
    held_out = info("glyphs", "x", "abc", class_splits={"train": (0, 1), "val": (), "test": (2,)})
    assert not labels_shared(held_out, info("glyphs", "y", "cde")), "what pre-training is not given"
    assert labels_shared(info("glyphs", "y", "cde"), held_out)


def test_a_layout_s_groups_do_not_hide_a_class() -> None:
    grouped = info("/data/dom", "x", classes=("photo/cat", "paint/cat"))
    assert labels_shared(grouped, info(PHOTOS, "y", classes=("cat", "dog")))
    assert not labels_shared(grouped, info(PHOTOS, "y", classes=("cow", "dog")))
