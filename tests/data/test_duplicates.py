"""Copies are found, likenesses are not, and both as an exhaustive search would tell."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.data import near_images
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, Dataset
from tlbench.data.duplicates import Copies, copy_index, find_copies
from tlbench.data.near_images import ImageIndex
from tlbench.data.near_texts import TextIndex, normalize
from tlbench.store.artifacts import Artifacts

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", params=["digits", "glyphs"])
def pictures(request: pytest.FixtureRequest, decoded: Path) -> Dataset:
    """Handwritten digits of 8x8 pixels, and letters of 28x28."""
    return open_dataset(request.param, {}, Artifacts(decoded))


def between(ours: Array | list[str], theirs: Array | list[str]) -> Copies:
    return find_copies(copy_index(ours), np.arange(len(ours)), copy_index(theirs), np.arange(len(theirs)))


def noisy(x: Array) -> Array:
    noise = np.random.default_rng(0).normal(0, 0.02 * 255, x.shape)
    return np.clip(x + noise, 0, 255).astype(np.uint8)


def brighter(x: Array) -> Array:
    return np.clip(0.8 * x + 20, 0, 255).astype(np.uint8)


def saved(x: Array) -> Array:
    found = np.empty_like(x)
    for place, image in enumerate(x):
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "JPEG", quality=90)
        found[place, 0] = np.asarray(Image.open(file))
    return found


@pytest.mark.parametrize("changed", [noisy, brighter, saved])
def test_copies_in_other_quality_are_found_and_are_the_right_ones(pictures: Dataset, changed: Any) -> None:
    rows = pictures.rows(TRAIN)[:300]
    found = between(changed(pictures.x[rows]), pictures.x[pictures.rows(TRAIN)[:900]])
    assert not found.exact.any()
    assert (found.row == np.arange(300)).mean() > 0.99
    assert (found.distance[found.exists] <= near_images.NEAR).all()


def test_examples_that_are_merely_alike_are_no_copies(pictures: Dataset) -> None:
    """No two test and training examples of these sets are; a hash that cries wolf finds hundreds."""
    images = copy_index(pictures.x)
    train, test = pictures.rows(TRAIN), pictures.rows(TEST)
    assert not find_copies(images, test, images, train).exists.any()
    assert not find_copies(images, train, images, train).exists.any(), "an example is no copy of itself"


def test_exact_copies_are_told_from_near_ones_and_from_other_shapes(pictures: Dataset) -> None:
    some = pictures.x[:20].copy()
    near = some[10:].copy()
    near[:, 0, 0, 0] ^= 1
    found = between(some, np.concatenate([some[:10], near]))
    assert found.exact.tolist() == [True] * 10 + [False] * 10
    assert found.row.tolist() == list(range(20))
    assert (found.distance[:10] == 0).all()
    larger = some.repeat(2, 2).repeat(2, 3)
    assert not between(some, larger).exact.any()


def test_a_twin_is_found_within_one_set_and_an_example_alone_is_not(pictures: Dataset) -> None:
    x = np.concatenate([pictures.x[:5], pictures.x[2:3], noisy(pictures.x[3:4])])
    images, rows = copy_index(x), np.arange(len(x))
    found = find_copies(images, rows, images, rows)
    assert found.row.tolist() == [-1, -1, 5, 6, -1, 2, 3]
    assert found.exact.tolist() == [False, False, True, False, False, True, False]
    three = copy_index(np.concatenate([pictures.x[:1]] * 3))
    assert (find_copies(three, np.arange(3), three, np.arange(3)).row != np.arange(3)).all()


def test_near_images_are_those_of_an_exhaustive_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against correlations of thumbnails that Pillow makes, in small blocks, at a bound that many pairs meet."""
    monkeypatch.setattr(near_images, "_BLOCK", 64)
    monkeypatch.setattr(near_images, "_CHUNK", 7)
    monkeypatch.setattr(near_images, "NEAR", 0.015)
    monkeypatch.setattr(ImageIndex, "near", 0.015)
    draw = np.random.default_rng(1)
    x = draw.integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)[draw.integers(0, 6, 60)].repeat(4, 2).repeat(4, 3)
    x = np.clip(x + draw.normal(0, 60, x.shape) * draw.random((60, 1, 1, 1)), 0, 255).astype(np.uint8)
    small = [np.asarray(Image.fromarray(each[0]).resize((16, 16), Image.Resampling.BILINEAR), float) for each in x]
    likeness = np.corrcoef(np.stack(small).reshape(60, -1))
    near = 1 - likeness[:30, 30:]
    found = between(x[:30], x[30:])
    rounding = 0.002  # Pillow's thumbnails are bytes
    sure = np.abs(near.min(1) - 0.015) > rounding
    assert 5 < (near.min(1) < 0.015).sum() < 25
    np.testing.assert_array_equal(found.exists[sure], near.min(1)[sure] < 0.015)
    both = found.exists & sure
    np.testing.assert_allclose(near[both, found.row[both]], near.min(1)[both], atol=rounding)
    np.testing.assert_allclose(found.distance[both], near.min(1)[both], atol=rounding)


def test_empty_pictures_are_near_to_nothing() -> None:
    empty = np.full((10, 3, 32, 32), 100, np.uint8)
    empty[..., 16:] += 1  # the same faint edge in all of them
    empty[:, 0, 0, 0] = np.arange(10)
    assert not between(empty[:5], empty[5:]).exists.any()
    assert between(empty[:5], empty[:5]).exact.all()


def test_a_grey_copy_of_a_colour_picture_is_near(decoded: Path) -> None:
    draw = np.random.default_rng(0)
    colour = draw.integers(0, 256, (8, 3, 6, 6)).astype(np.uint8).repeat(5, 2).repeat(5, 3)
    grey = np.stack([np.asarray(Image.fromarray(each.transpose(1, 2, 0)).convert("L"))[None] for each in colour])
    found = between(grey, colour)
    assert (found.row == np.arange(8)).all()
    assert not found.exact.any()


def test_nothing_is_found_among_nothing(pictures: Dataset) -> None:
    none = np.zeros(0, np.int64)
    images = copy_index(pictures.x)
    assert find_copies(images, none, images, pictures.rows(TRAIN)).row.shape == (0,)
    assert find_copies(images, np.arange(3), copy_index(pictures.x), none).row.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Where DID you grow-up?!\n", "where did you grow up"),
        ("ﬁne　café", "fine café"),
        ("Straße", "strasse"),
        ("", ""),
    ],
)
def test_texts_are_compared_without_case_punctuation_blanks_and_forms(text: str, plain: str) -> None:
    assert normalize(text) == plain


def test_texts_that_differ_in_form_are_near_and_equal_ones_exact() -> None:
    ours = ["Where did you grow up?", "my card was stolen", "ab", "", "pay the gas bill now"]
    theirs = ["where did you  grow up", "my card was stolen", "AB!", "?", "call my mother now"]
    found = between(ours, theirs)
    assert found.row.tolist() == [0, 1, 2, 3, -1]
    assert found.exact.tolist() == [False, True, False, False, False]
    assert found.distance[:4].tolist() == [0, 0, 0, 0]


def test_near_texts_are_those_of_an_exhaustive_search() -> None:
    draw = np.random.default_rng(3)
    words = ["".join(draw.choice(list("abcdefgh"), draw.integers(2, 7))) for _ in range(80)]
    base = [" ".join(draw.choice(words, 25)) for _ in range(15)]

    def edited(text: str) -> str:
        parts = text.split()
        for place in draw.integers(0, len(parts), draw.integers(0, 4)):
            parts[place] = str(draw.choice(words))
        return " ".join(parts)

    x = [edited(base[place]) for place in draw.integers(0, 15, 120)]
    pieces = [{text[at : at + 5] for at in range(len(text) - 4)} for text in x]
    apart = np.array([[1 - len(a & b) / len(a | b) for b in pieces[60:]] for a in pieces[:60]])
    found = between(x[:60], x[60:])
    near = apart.min(1) <= TextIndex.near
    assert 5 < near.sum() < 55
    np.testing.assert_array_equal(found.exists, near)
    np.testing.assert_allclose(found.distance[near], apart.min(1)[near], atol=1e-6)


def test_many_images_do_not_need_their_distances_all_at_once() -> None:
    """The whole matrix of 20,000 x 4,000 would take 320 MB."""
    draw = np.random.default_rng(0)
    trained = draw.integers(0, 256, (20_000, 1, 8, 8)).astype(np.uint8)
    tested = brighter(trained[:4000])
    tracemalloc.start()
    found = between(tested, trained)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.row == np.arange(4000)).mean() > 0.99
    assert peak < 250e6
