"""Pairs of domains: what becomes of each side's split, labels by name, shapes, and everything that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.data import catalog
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, VAL, Dataset
from tlbench.data.sources.pair import Params, join, label
from tlbench.store.artifacts import Artifacts
from tlbench.testing.fakes import fake_dataset

ALL = Params(source="a", target="b")


def side(
    name: str = "a",
    classes: Sequence[str] = ("x", "y", "z"),
    shape: tuple[int, int, int] = (1, 4, 4),
    domains: Sequence[str] = (),
    each: int = 12,
) -> Dataset:
    """Return images that spell out their row in the first pixel; of each class two thirds train, the rest is mixed."""
    count = each * len(classes)
    fake = fake_dataset()
    rows = np.arange(count)
    x = np.zeros((count, *shape), np.uint8)
    x[:, 0, 0, 0] = rows
    info = replace(
        fake.info,
        name=name,
        fingerprint=name,
        classes=tuple(classes),
        shape=shape,
        domains=tuple(domains),
        class_splits={},
    )
    part = np.select([rows % 6 < 4, rows % 6 == 4], [TRAIN, VAL], TEST).astype(np.uint8)
    return Dataset(info, x, (rows + rows // 6) % len(classes), part, rows // len(classes) % max(1, len(domains)))


def trained_on(dataset: Dataset, count: int) -> Dataset:
    """Return a dataset of which only the first few examples are for training."""
    return replace(dataset, part=np.where(np.arange(len(dataset.y)) < count, TRAIN, TEST).astype(np.uint8))


def test_each_side_keeps_its_split(tmp_path: Path) -> None:
    """What the source holds out, for whatever purpose, validates; the target's parts stay what they are."""
    source, target = side("a"), side("b")
    found = join(source, target, ALL, tmp_path)
    ours, theirs = found.part[: len(source.y)], found.part[len(source.y) :]
    np.testing.assert_array_equal(ours, np.where(source.part == TRAIN, SOURCE, SOURCE_VAL))
    np.testing.assert_array_equal(theirs, target.part)
    np.testing.assert_array_equal(found.domain, np.repeat([0, 1], len(source.y)))
    np.testing.assert_array_equal(found.x, np.concatenate([source.x, target.x]))
    assert found.target == target.info.fingerprint


def test_labels_are_matched_by_name(tmp_path: Path) -> None:
    source, target = side("a", ("x", "y", "z")), side("b", ("z", "x", "y"))
    found = join(source, target, ALL, tmp_path)
    names = [found.classes[label] for label in found.y]
    assert names[: len(source.y)] == [source.info.classes[label] for label in source.y]
    assert names[len(source.y) :] == [target.info.classes[label] for label in target.y]
    assert found.classes == ("z", "x", "y")


def test_classes_of_the_source_may_be_called_otherwise(tmp_path: Path) -> None:
    source, target = side("a", ("x", "y", "z")), side("b", ("z", "q", "x"))
    for said in ({"y": "q"}, {"x": "z", "y": "q", "z": "x"}):
        found = join(source, target, Params(source={"name": "a", "classes": said}, target="b"), tmp_path)
        own = [source.info.classes[label] for label in source.y]
        assert [found.classes[label] for label in found.y[: len(own)]] == [said.get(name, name) for name in own]
    digits = {"name": "rendered_digits", "images": 420}
    swapped = {**digits, "classes": {"3": 8, "8": "3"}}
    plain, other = (
        catalog.open_dataset("pair", {"source": said, "target": "digits"}, Artifacts(tmp_path / "a"))
        for said in (digits, swapped)
    )
    rows = plain.rows(SOURCE)
    np.testing.assert_array_equal(other.y[rows], np.choose(plain.y[rows], [0, 1, 2, 8, 4, 5, 6, 7, 3, 9]))
    np.testing.assert_array_equal(other.y[other.rows(TRAIN)], plain.y[plain.rows(TRAIN)])
    assert plain.info.fingerprint != other.info.fingerprint


def test_domains_of_one_dataset(tmp_path: Path) -> None:
    dataset = side("a", domains=("photo", "sketch", "toy"), each=36)
    params = Params(source={"name": "a", "domain": "toy"}, target={"name": "a", "domain": "photo"})
    found = join(dataset, dataset, params, tmp_path)
    rows = np.concatenate([np.flatnonzero(dataset.domain == 2), np.flatnonzero(dataset.domain == 0)])
    np.testing.assert_array_equal(found.x[:, 0, 0, 0], rows)
    np.testing.assert_array_equal(found.y, dataset.y[rows])
    assert label(dataset, dataset, params) == "a: toy -> photo"
    assert label(dataset, side("b"), Params(source={"name": "a", "domain": "toy"}, target="b")) == "a/toy -> b"
    assert label(dataset, side("b"), ALL) == "a -> b"


def test_a_source_of_several_domains(tmp_path: Path) -> None:
    dataset = side("a", domains=("photo", "sketch", "toy"), each=36)
    params = Params(source={"name": "a", "domain": ["toy", "photo"]}, target={"name": "a", "domain": "sketch"})
    found = join(dataset, dataset, params, tmp_path)
    rows = np.concatenate([np.flatnonzero(dataset.domain != 1), np.flatnonzero(dataset.domain == 1)])
    np.testing.assert_array_equal(found.x[:, 0, 0, 0], rows)
    assert label(dataset, dataset, params) == "a: others -> sketch"
    wider = replace(dataset, info=replace(dataset.info, domains=("photo", "sketch", "toy", "clay")))
    assert label(wider, wider, params) == "a: toy+photo -> sketch"
    both = Params(source={"name": "a", "domain": ["toy", "sketch"]}, target={"name": "a", "domain": "sketch"})
    with pytest.raises(UserError, match="source and target share examples"):
        join(dataset, dataset, both, tmp_path)


def test_images_are_brought_to_the_targets_shape(tmp_path: Path) -> None:
    source, target = side("a", shape=(3, 12, 8)), side("b", shape=(1, 6, 6))
    source.x[:] = 200
    found = join(source, target, ALL, tmp_path)
    assert found.x.shape[1:] == (1, 6, 6)
    assert (found.x[: len(source.y)] == 200).all()
    np.testing.assert_array_equal(found.x[len(source.y) :], target.x)
    assert "images of the source were brought from 3x12x8 to 1x6x6" in found.warnings


def test_grey_images_become_coloured(tmp_path: Path) -> None:
    source, target = side("a", shape=(1, 8, 8)), side("b", shape=(3, 8, 8))
    found = join(source, target, ALL, tmp_path)
    np.testing.assert_array_equal(found.x[: len(source.y)], source.x.repeat(3, 1))


def test_texts(tmp_path: Path) -> None:
    lines = [
        f"{place} {kind} number {n},{kind},{place}" for place in ("north", "south") for kind in "ab" for n in "123"
    ]
    (tmp_path / "talk.csv").write_text("text,label,domain\n" + "\n".join(lines) + "\n")
    sides = {
        key: {"name": "texts", "path": "talk.csv", "domain": domain}
        for key, domain in (("source", "south"), ("target", "north"))
    }
    dataset = catalog.open_dataset("pair", sides, Artifacts(tmp_path / "a"), base=tmp_path)
    assert dataset.info.name == "texts(talk): south -> north"
    assert dataset.info.modality == "text"
    assert [text.split()[0] for text in (dataset.x[row] for row in range(12))] == ["south"] * 6 + ["north"] * 6
    assert set(dataset.part[:6]) == {SOURCE, SOURCE_VAL}


def test_a_folder_of_domains_by_a_relative_path(tmp_path: Path) -> None:
    for place in ("day", "night"):
        for kind in ("cat", "dog"):
            folder = tmp_path / "pets" / place / kind
            folder.mkdir(parents=True)
            for number in range(3):
                Image.fromarray(np.full((4, 4), 50 * number, np.uint8)).save(folder / f"{number}.png")
    sides = {"source": {"name": "folder", "path": "pets", "domain": "day"}}
    sides["target"] = {**sides["source"], "domain": "night"}
    validated = catalog.validate("pair", sides)
    assert validated["source"]["params"] == {"path": "pets"}
    paths = catalog.validate("pair", sides, tmp_path)
    assert paths["source"]["params"]["path"] == paths["target"]["params"]["path"] == str(tmp_path / "pets")
    dataset = catalog.open_dataset("pair", paths, Artifacts(tmp_path / "a"))
    assert dataset.info.name == "folder(pets): day -> night"
    assert dataset.info.counts == {"train": (2, 2), "test": (1, 1)}, "counts are the target's"
    assert dataset.info.origin == (tmp_path / "pets" / "night").resolve().as_posix()


def test_a_pair_is_a_dataset_of_its_own(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    source = {"name": "rendered_digits", "images": 420}
    pair = catalog.open_dataset("pair", {"source": source, "target": "digits"}, artifacts)
    back = catalog.open_dataset("pair", {"source": "digits", "target": source}, artifacts)
    digits = catalog.open_dataset("digits", {}, artifacts)
    assert pair.info.name == "rendered_digits(images=420) -> digits"
    assert pair.info.domains == ("source", "target")
    assert len({pair.info.fingerprint, back.info.fingerprint, digits.info.fingerprint}) == 3
    assert pair.info.target == digits.info.fingerprint
    for part in (TRAIN, TEST):
        np.testing.assert_array_equal(pair.x[pair.rows(part)], digits.x[digits.rows(part)])
    assert pair.info.counts == digits.info.counts
    again = catalog.open_dataset("pair", {"source": source, "target": "digits"}, artifacts)
    assert again.info == pair.info
    assert digits.info.target == ""
    assert (digits.info.origin, pair.info.origin, back.info.origin) == ("digits", "digits", "rendered_digits")


@pytest.mark.parametrize(
    ("source", "target", "params", "said"),
    [
        (side("a"), side("b", ("x", "y", "q")), ALL, "only a has 'z'; only b has 'q'"),
        (side("a", "abcdefghi"), side("b", "abc"), ALL, "only a has 'd', 'e', 'f', 'g', 'h' and 1 more"),
        (side("a"), side("a"), ALL, "a: source and target share examples\n  give each side a domain of its own"),
        (side("a"), side("b"), Params(source={"name": "a", "domain": "d"}, target="b"), "a has no domain 'd'"),
        (
            side("a", domains=("photo", "toy")),
            side("b"),
            Params(source={"name": "a", "domain": "tay"}, target="b"),
            "a has no domain 'tay'\n  did you mean 'toy'?",
        ),
        (side("a", each=1), side("b"), ALL, "the source a has no held-out example"),
        (
            side("a", domains=("photo", "toy"), each=1),
            side("b"),
            Params(source={"name": "a", "domain": "toy"}, target="b"),
            "in the source a/toy",
        ),
        (side("a"), side("b", each=1), ALL, "the target b has no held-out example"),
        (side("a"), trained_on(side("b"), 0), ALL, "the target b has no training example"),
        (side("a"), trained_on(side("b"), 1), ALL, "the target b has only one training example\n  a distribution"),
        (side("a"), side("b", ("x", "y", "q")), ALL, "e.g. classes: {'z': 'q'}"),
        (
            side("a", "xyz"),
            side("b", "xyq"),
            Params(source={"name": "a", "classes": {"zz": "q"}}, target="b"),
            "classes of the source: the source a has no class 'zz'\n  did you mean 'z'?",
        ),
        (
            side("a", "xyz"),
            side("b", "xyq"),
            Params(source={"name": "a", "classes": {"z": "qq"}}, target="b"),
            "classes of the source: the target b has no class 'qq'\n  did you mean 'q'?",
        ),
        (
            side("a", "xyz"),
            side("b", "xyq"),
            Params(source={"name": "a", "classes": {"z": "y"}}, target="b"),
            "classes of the source: 'y' and 'z' of a become one, 'y'\n  for 'z': valid: q",
        ),
        (
            side("a", "xyz"),
            side("b", "xy"),
            Params(source={"name": "a", "classes": {"z": "y"}}, target="b"),
            "'y' and 'z' of a become one, 'y'\n  the target has too few classes",
        ),
        (side("a", tuple("abcdef"), each=2), side("b", tuple("abcdef")), ALL, "class 'f' has no training example in"),
        (side("a", shape=(1, 4, 5)), side("b", shape=(1, 4, 6)), ALL, "its images cannot be brought to 6x4"),
    ],
)
def test_what_is_no_pair_is_refused(
    source: Dataset, target: Dataset, params: Params, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        join(source, target, params, tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"source": "rendered_digit", "target": "digits"}, "unknown dataset 'rendered_digit', as 'source'\n  did you"),
        ({"source": "digits"}, "dataset pair: 'target' is missing"),
        ({"source": "digits", "target": "glyphs", "shift": 1}, "dataset pair: unknown key 'shift'"),
        ({"source": "digits", "target": {"name": "glyphs", "varints": 1}}, "unknown key 'varints', as 'target'\n  did"),
        ({"source": {"path": "x"}, "target": "digits"}, "dataset pair: 'name' is missing"),
        ({"source": 3, "target": "digits"}, "dataset pair: source: must be a name or a mapping"),
        ({"source": "pair", "target": "digits"}, "a pair of pairs, as 'source'"),
        (
            {"source": "digits", "target": {"name": "glyphs", "domain": ["a", "b"]}},
            "domain of the 'target': several\n  a target is one domain; a source may have several",
        ),
        (
            {"source": "digits", "target": {"name": "MNIST", "classes": {"3": "8"}}},
            "classes of the target keep their names, as 'target'\n  give classes to the source",
        ),
        (
            {"source": {"name": "digits", "classes": {"3": None}}, "target": "MNIST"},
            "dataset pair: 3: must be a text, not null",
        ),
        (
            {"source": {"name": "digits", "classes": ["3"]}, "target": "MNIST"},
            "dataset pair: classes: must be a mapping",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_opened(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        catalog.validate("pair", params)
    assert said in str(caught.value)


def test_rare_classes_of_the_target_are_told(tmp_path: Path) -> None:
    target = side("b", tuple("abcdef"), each=2)
    found = join(side("a", tuple("abcdef"), each=12), target, ALL, tmp_path)
    assert "1 of 6 classes have no training example in the target" in found.warnings
    assert "4 of 6 classes have no test example in the target" in found.warnings
