"""The sources that need no download: digits, rendered digits, glyphs."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, Dataset
from tlbench.data.rendering import DEJAVU, code_points, counts_to_bytes, random_maps, warp
from tlbench.data.sources import glyphs, rendered_digits
from tlbench.store.artifacts import Artifacts


@pytest.fixture(scope="module")
def digits(decoded: Path) -> Dataset:
    return open_dataset("digits", {}, Artifacts(decoded))


@pytest.fixture(scope="module")
def printed(decoded: Path) -> Dataset:
    return open_dataset("rendered_digits", {}, Artifacts(decoded))


@pytest.fixture(scope="module")
def characters(decoded: Path) -> Dataset:
    return open_dataset("glyphs", {}, Artifacts(decoded))


def flat(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.x).reshape(len(dataset.y), -1)


def test_digits_are_scikit_learns_split_900_to_897(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    truth = load_digits()
    assert digits.x.shape == (1797, 1, 8, 8)
    assert np.array_equal(np.round(digits.x[:, 0] * (16 / 255)), truth.images)
    assert np.array_equal(digits.y, truth.target)
    assert [len(digits.rows(part)) for part in (TRAIN, TEST)] == [900, 897]
    balance = np.bincount(digits.y[digits.rows(TRAIN)]) - np.bincount(digits.y[digits.rows(TEST)])
    assert abs(balance).max() <= 1


def test_counts_become_bytes_by_the_stated_map() -> None:
    assert counts_to_bytes(np.arange(17)).tolist() == [int(n * 255 / 16 + 0.5) for n in range(17)]


def test_digits_hold_no_duplicates(digits: Dataset) -> None:
    assert len(np.unique(flat(digits), axis=0)) == 1797


def test_printed_digits_transfer_as_a_real_shift_does(printed: Dataset, digits: Dataset) -> None:
    from sklearn.linear_model import LogisticRegression

    assert printed.x.shape == (6000, 1, 8, 8)
    assert set(np.unique(printed.x)) == set(counts_to_bytes(np.arange(17)).tolist())
    assert len(printed.info.domains) == 21
    assert set(Counter(zip(printed.y.tolist(), printed.domain.tolist(), strict=True)).values()) <= {28, 29}
    train, test = printed.rows(TRAIN), printed.rows(TEST)
    assert (np.bincount(printed.y[test]) == 120).all()
    model = LogisticRegression(C=1.0, max_iter=300).fit(flat(printed)[train] / 255, printed.y[train])
    assert model.score(flat(printed)[test] / 255, printed.y[test]) > 0.97
    assert 0.5 < model.score(flat(digits) / 255, digits.y) < 0.75


def test_glyphs_have_the_stated_shape(characters: Dataset) -> None:
    info = characters.info
    assert info.shape == (1, 28, 28)
    assert characters.x.shape == (24 * len(info.classes), 1, 28, 28)
    assert (np.bincount(characters.y) == 24).all()
    assert (np.bincount(characters.y * 12 + characters.domain) == 2).all()
    assert info.domains == DEJAVU
    assert (np.array(info.counts["train"]) == 19).all()
    assert len(np.unique(flat(characters), axis=0)) == len(characters.y)


def test_every_face_teaches_every_glyph(characters: Dataset, decoded: Path) -> None:
    place = characters.y * 12 + characters.domain
    taught = np.bincount(place[characters.part == TRAIN], minlength=12 * len(characters.info.classes))
    assert taught.min() == 1
    some = open_dataset("glyphs", {"variants": 10, "scripts": ["georgian"]}, Artifacts(decoded))
    for part, each in ((TRAIN, 8), (TEST, 2)):
        assert (np.bincount((some.y * 12 + some.domain)[some.part == part]) == each).all()


def test_glyphs_count_as_expected_or_warn(characters: Dataset) -> None:
    count = len(characters.info.classes)
    assert (count == 525) == (characters.info.warnings == ())
    assert glyphs._warnings(525) == ()
    assert "524 classes instead of 525" in glyphs._warnings(524)[0]
    assert 480 < count < 570


def test_glyph_classes_are_split_by_script_without_rest(characters: Dataset) -> None:
    splits, classes = characters.info.class_splits, characters.info.classes
    assert sorted(sum(splits.values(), ())) == list(range(len(classes)))
    scripts = {part: {unicodedata.name(classes[label]).split()[0] for label in splits[part]} for part in splits}
    assert scripts["val"] == {"ARMENIAN"}
    assert {"GREEK", "GEORGIAN"} <= scripts["test"] <= {"GREEK", "GEORGIAN", "OHM", "MICRO"}
    assert {"LATIN", "CYRILLIC"} <= scripts["train"]
    assert not scripts["train"] & {"ARMENIAN", "GREEK", "GEORGIAN"}


def test_no_glyph_of_one_class_split_looks_like_one_of_another(characters: Dataset) -> None:
    """Recomputed from new drawings, pixel by pixel, over every pair of characters in every face."""
    letters = glyphs.letters()
    ink = glyphs.draw_all(letters)
    assert ink.reshape(-1, 32 * 32).max(1).min() > 0, "a letter is drawn blank"
    group = glyphs.merge(ink)
    splits, classes = characters.info.class_splits, characters.info.classes
    part_of = {label: part for part, labels in splits.items() for label in labels}
    part = np.array([part_of[member] for member in group])
    first = np.unique(group, return_index=True)[1]
    assert tuple(letters[row] for row in first) == classes
    for drawings in ink.reshape(len(DEJAVU), len(letters), -1).astype(np.float64):
        norm = (drawings**2).sum(1)
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            a, b = np.flatnonzero(part == one), np.flatnonzero(part == other)
            gap = norm[a][:, None] + norm[b] - 2 * drawings[a] @ drawings[b].T
            relative = gap / np.maximum(norm[a][:, None], norm[b])
            assert relative.min() >= 0.02


def test_glyphs_of_some_scripts_are_those_classes_alone(characters: Dataset) -> None:
    some = glyphs.decode(glyphs.Params(scripts=("greek", "georgian")), Path())
    kept = [characters.info.classes[label] for label in characters.info.class_splits["test"]]
    assert list(some.classes) == kept
    assert some.class_splits == {}
    assert some.warnings == characters.info.warnings
    assert len(some.x) == 24 * len(kept)


def test_letters_known_to_coincide_are_merged() -> None:
    letters = glyphs.letters()
    group = dict(zip(letters, glyphs.merge(glyphs.draw_all(letters)).tolist(), strict=True))
    assert group["A"] == group["Α"] == group["А"]  # Latin, Greek, Cyrillic
    assert group["n"] == group["п"]  # alike in italics only
    assert group["o"] != group["O"], "size tells them apart: nothing is fitted to a box"
    assert all(ord(letter) in code_points(face) for letter in letters for face in DEJAVU)


def test_merging_joins_through_a_third() -> None:
    ink = np.zeros((2, 4, 4, 4), np.uint8)
    for row in range(4):
        ink[:, row, row] = 200
    ink[0, 1] = ink[0, 0]  # alike in the first face
    ink[1, 2] = ink[1, 1]  # alike in the second
    assert glyphs.merge(ink).tolist() == [0, 0, 0, 1]


def test_variants_are_a_parameter(decoded: Path) -> None:
    one = open_dataset("glyphs", {"variants": 1}, Artifacts(decoded))
    assert len(one.y) == 12 * len(one.info.classes)
    assert one.info.name == "glyphs(variants=1)"


def test_warp_without_change_is_the_identity_and_a_shift_moves() -> None:
    drawing = np.random.default_rng(0).integers(0, 256, (3, 9, 9)).astype(np.uint8)
    maps, centres = np.tile(np.eye(2), (3, 1, 1)), np.full((3, 2), 4.0)
    assert np.array_equal(warp(drawing, maps, centres, np.zeros((3, 2)), 9), drawing)
    moved = warp(drawing, maps, centres, np.tile([2.0, -1.0], (3, 1)), 9)
    assert np.array_equal(moved[:, 2:, :-1], drawing[:, :-2, 1:])
    assert (moved[:, :2] == 0).all()
    halves = warp(drawing, maps, centres, np.tile([0.5, 0.0], (3, 1)), 9)
    assert np.allclose(halves[:, 1:], (drawing[:, 1:].astype(float) + drawing[:, :-1]) / 2)


def test_random_maps_stay_within_their_bounds() -> None:
    maps = random_maps(np.random.default_rng(0), 500, degrees=15, scale=0.2, shear=0.3)
    size = np.sqrt(np.linalg.det(maps))
    assert 0.8 <= size.min() < 0.82 < 1.18 < size.max() <= 1.2
    angle = np.rad2deg(np.arctan2(-maps[:, 0, 1], maps[:, 1, 1]))  # the column a shear leaves alone
    assert -15.001 <= angle.min() < -14 < 14 < angle.max() <= 15.001


def test_decoding_is_the_same_in_another_process(printed: Dataset, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tlbench.data import decoded as d;"
        "from tlbench.data.sources import rendered_digits as r;"
        f"print(d.fingerprint(r.decode(r.Params(), Path({str(tmp_path)!r}))))"
    )
    env = {"PYTHONHASHSEED": "3", "HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == printed.info.fingerprint


def test_signature_names_what_draws() -> None:
    assert {"matplotlib", "pillow", "freetype"} <= set(rendered_digits.signature(rendered_digits.Params()))
    assert "unicode" in glyphs.signature(glyphs.Params())
