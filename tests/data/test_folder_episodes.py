"""Folders of characters for episodes: rotations as classes, inversion, and which groups are for testing."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.class_splits import deal_classes
from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset, validate
from tlbench.data.dataset import Dataset
from tlbench.data.sampling import EpisodeShape, check_episodes, draw_episodes
from tlbench.store.artifacts import Artifacts

OMNIGLOT = Path(__file__).parents[3] / "shared" / "data" / "omniglot-small" / "omniglot-small.zip"
GROUPS = ("greek", "khmer", "korean", "latin", "thai")


def fill(root: Path, folders: list[str], count: int = 4, size: tuple[int, int] = (6, 6)) -> Path:
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng([place, number]).integers(0, 256, size).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{number}.png")
    return root


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Five groups of three classes of four images."""
    return fill(tmp_path / "scripts", [f"{group}/c{n}" for group in GROUPS for n in range(3)])


def opened(artifacts: Artifacts, path: Path, **params: Any) -> Dataset:
    return open_dataset("folder", {"path": str(path), **params}, artifacts)


def refusal(artifacts: Artifacts, path: Path, **params: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(artifacts, path, **params)
    return str(caught.value)


def groups_of(dataset: Dataset) -> dict[str, list[str]]:
    info = dataset.info
    return {part: sorted({info.classes[label].split("/")[0] for label in ls}) for part, ls in info.class_splits.items()}


def side_of(dataset: Dataset) -> dict[int, str]:
    return {label: part for part, labels in dataset.info.class_splits.items() for label in labels}


def test_nothing_asked_for_changes_nothing(artifacts: Artifacts, scripts: Path) -> None:
    plain = opened(artifacts, scripts, layout="groups")
    said = opened(artifacts, scripts, layout="groups", rotations=False, invert=False, test_groups=None)
    assert said.info == plain.info
    assert [len(groups_of(plain)[part]) for part in ("train", "val", "test")] == [3, 1, 1]


def test_turned_classes_are_classes_of_turned_images(artifacts: Artifacts, scripts: Path) -> None:
    plain = opened(artifacts, scripts, layout="groups")
    turned = opened(artifacts, scripts, layout="groups", rotations=True)
    count, classes = len(plain.y), len(plain.info.classes)
    assert len(turned.y) == len(turned.x) == 4 * count
    assert len(turned.info.classes) == len(set(turned.info.classes)) == 4 * classes
    assert turned.info.name == "folder(scripts,layout=groups,rotations=true)"
    for turn in range(4):
        rows = slice(turn * count, (turn + 1) * count)
        assert np.array_equal(turned.y[rows], plain.y + turn * classes)
        for row in range(count):
            upright = Image.fromarray(plain.x[row, 0])
            assert np.array_equal(turned.x[rows][row, 0], np.asarray(upright.rotate(90 * turn)))
    assert turned.info.classes[classes : 2 * classes] == tuple(f"{name}@90" for name in plain.info.classes)
    assert len(np.unique(turned.x.reshape(4 * count, -1), axis=0)) == 4 * count


@pytest.mark.parametrize("asked", [{}, {"test_groups": 2}, {"test_groups": 1, "val_groups": 1}])
def test_a_turned_class_and_a_turned_image_stay_beside_the_original(
    artifacts: Artifacts, scripts: Path, asked: dict[str, Any]
) -> None:
    plain = opened(artifacts, scripts, layout="groups", **asked)
    turned = opened(artifacts, scripts, layout="groups", rotations=True, **asked)
    classes = len(plain.info.classes)
    assert {label % classes: part for label, part in side_of(turned).items()} == side_of(plain)
    assert len(side_of(turned)) == 4 * classes
    assert all(side_of(turned)[label] == side_of(plain)[label % classes] for label in side_of(turned))
    assert np.array_equal(turned.part, np.tile(plain.part, 4))
    assert turned.info.counts == {part: numbers * 4 for part, numbers in plain.info.counts.items()}


def test_turned_classes_stay_together_where_no_groups_are(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", [f"c{n}" for n in range(10)])
    dataset = opened(artifacts, root, rotations=True)
    splits = deal_classes(dataset.info)
    assert [len(splits[part]) for part in ("train", "val", "test")] == [24, 8, 8]
    side = side_of(dataset)
    assert all(side[label] == side[label % 10] for label in range(40))
    two = fill(tmp_path / "two", ["g/a", "h/b", "h/c"])
    side = side_of(opened(artifacts, two, layout="groups", rotations=True))
    assert all(side[label] == side[label % 3] for label in range(12))
    assert set(side.values()) == {"train", "val", "test"}
    assert "2 classes cannot be split" in refusal(artifacts, fill(tmp_path / "few", ["a", "b"]), rotations=True)


def test_turned_classes_follow_a_split_that_the_folders_make(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["train/a", "train/b", "train/c", "val/d", "test/e"])
    splits = opened(artifacts, root, rotations=True).info.class_splits
    assert splits["val"] == (3, 8, 13, 18)
    assert splits["test"] == (4, 9, 14, 19)


def test_domains_are_turned_too(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "office", [f"{d}/{c}" for d in ("photo", "sketch") for c in ("cup", "pen", "ink")])
    dataset = opened(artifacts, root, rotations=True)
    assert (np.bincount(dataset.y * 2 + dataset.domain) == 4).all()
    assert len(np.bincount(dataset.y * 2 + dataset.domain)) == 24


def test_images_that_are_not_square_cannot_be_turned(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "wide", ["a", "b", "c"], size=(8, 12))
    text = refusal(artifacts, root, rotations=True)
    assert "images of 12x8 pixels" in text
    assert "image_size: 8" in text
    assert opened(artifacts, root, rotations=True, image_size=8).x.shape == (48, 1, 8, 8)


def test_inversion_swaps_black_and_white(artifacts: Artifacts, scripts: Path) -> None:
    plain = opened(artifacts, scripts, layout="groups", rotations=True)
    inverted = opened(artifacts, scripts, layout="groups", rotations=True, invert=True)
    assert np.array_equal(inverted.x, 255 - plain.x)
    assert inverted.info.class_splits == plain.info.class_splits
    assert inverted.info.fingerprint != plain.info.fingerprint


def test_a_number_of_groups_is_taken_by_name_hash_and_nested(artifacts: Artifacts, scripts: Path) -> None:
    dealt = groups_of(opened(artifacts, scripts, layout="groups"))
    taken = [groups_of(opened(artifacts, scripts, layout="groups", test_groups=n))["test"] for n in (1, 2, 3, 4)]
    assert taken[0] == dealt["test"]
    assert all(set(few) < set(many) for few, many in pairwise(taken))
    both = groups_of(opened(artifacts, scripts, layout="groups", test_groups=1, val_groups=1))
    assert both == dealt


def test_groups_are_taken_by_name(artifacts: Artifacts, scripts: Path) -> None:
    found = groups_of(opened(artifacts, scripts, layout="groups", test_groups=["thai", "greek"], val_groups=["latin"]))
    assert found == {"train": ["khmer", "korean"], "val": ["latin"], "test": ["greek", "thai"]}
    only = groups_of(opened(artifacts, scripts, layout="groups", val_groups=["khmer"]))
    assert only["val"] == ["khmer"]
    assert len(only["test"]) == 1


@pytest.mark.parametrize("val", [{}, {"val_groups": 0}, {"val_groups": []}])
def test_without_groups_for_validation_a_fifth_of_the_training_classes_is(
    artifacts: Artifacts, scripts: Path, val: dict[str, Any]
) -> None:
    dataset = opened(artifacts, scripts, layout="groups", test_groups=["thai", "greek"], **val)
    splits, classes = dataset.info.class_splits, dataset.info.classes
    assert [len(splits[part]) for part in ("train", "val", "test")] == [7, 2, 6]
    assert sorted(sum(splits.values(), ())) == list(range(15))
    assert {classes[label].split("/")[0] for label in splits["val"]} <= {"khmer", "korean", "latin"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"test_groups": ["thia"]}, "test_groups: there is no group 'thia'\n  did you mean 'thai'?"),
        ({"test_groups": 6}, "test_groups: 6 groups, but there are only 5"),
        ({"test_groups": 5}, "leave 0 classes to train on"),
        ({"test_groups": 3, "val_groups": 2}, "leave 0 classes to train on"),
        ({"test_groups": 3, "val_groups": 3}, "val_groups: 3 groups, but there are only 2"),
        ({"test_groups": ["thai"], "val_groups": ["thai"]}, "group 'thai' is among test_groups already"),
        ({"test_groups": 1, "layout": "domains"}, "its layout is domains\n  groups lie as group/class/img"),
    ],
)
def test_groups_that_cannot_be_taken_are_named(
    artifacts: Artifacts, scripts: Path, params: dict[str, Any], said: str
) -> None:
    assert said in refusal(artifacts, scripts, **{"layout": "groups"} | params)


def test_folders_that_are_split_already_take_no_groups(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", [f"{split}/{g}/c" for split in ("train", "test") for g in ("g", "h", "i")])
    assert "its folders are split already" in refusal(artifacts, root, layout="groups", test_groups=1)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"rotations": 1}, "rotations: must be true or false, not 1"),
        ({"test_groups": 0}, "test_groups: must be greater than or equal to 1, not 0"),
        ({"test_groups": True}, "test_groups: must be a whole number, not true"),
        ({"rotation": True}, "did you mean 'rotations'?"),
    ],
)
def test_mistakes_are_named_before_anything_is_opened(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        validate("folder", {"path": "x", **params})
    assert said in str(caught.value)


@pytest.mark.skipif(not OMNIGLOT.exists(), reason="omniglot-small.zip is not here")
def test_omniglot_trains_on_five_alphabets_and_tests_on_three(decoded: Path) -> None:
    params = {"layout": "groups", "image_size": 28, "invert": True, "rotations": True, "test_groups": 3}
    dataset = open_dataset("folder", {"path": str(OMNIGLOT), **params}, Artifacts(decoded))
    info = dataset.info
    assert dataset.x.shape == (4 * 4840, 1, 28, 28)
    assert len(info.classes) == 968
    assert (np.bincount(dataset.y) == 20).all()
    assert np.mean(dataset.x < 128) > 0.8, "bright strokes on black"
    with zipfile.ZipFile(OMNIGLOT) as archive:
        alphabets = {name.split("/")[-3] for name in archive.namelist() if name.endswith(".png")}
    found = groups_of(dataset)
    assert len(found["test"]) == 3
    assert not set(found["test"]) & {*found["train"], *found["val"]}
    assert {*found["test"], *found["train"], *found["val"]} == alphabets
    assert len({*found["train"], *found["val"]}) == 5
    side = side_of(dataset)
    assert all(side[label] == side[label % 242] for label in range(968))
    assert len(side) == 968
    held = len(info.class_splits["val"]) / (len(info.class_splits["val"]) + len(info.class_splits["train"]))
    assert abs(held - 0.2) < 0.01
    check_episodes(info, 20, 5, 15)
    drawn = draw_episodes(
        dataset.y,
        np.arange(len(dataset.y)),
        info.class_splits["test"],
        EpisodeShape(ways=20, shots=1, queries=5),
        count=5,
        seed=0,
    )
    assert set(drawn.classes.ravel()) <= set(info.class_splits["test"])
