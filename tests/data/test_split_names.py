"""Names of splits: one table for folders, zips and columns; never pooled as domains; asked about where unclear."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_folder import fill, opened, pack, refusal

from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST
from tlbench.data.split_names import ALIASES, is_unlabeled, resembles_split, split_of
from tlbench.store.artifacts import Artifacts

TRIPLES = [
    ("train", "valid", "test"),
    ("train", "validation", "test"),
    ("Train", "Dev", "Test"),
    ("TRAINING", "Valid", "testing"),
]


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def of(*outer: str) -> list[str]:
    return [f"{name}/{label}" for name in outer for label in ("a", "b")]


def test_the_table_knows_each_name_in_any_case_and_no_other() -> None:
    for split, aliases in ALIASES.items():
        assert {split_of(form) for alias in aliases for form in (alias, alias.upper(), alias.title())} == {split}
    assert not any(map(split_of, ("", "trainer", "photo", "unlabeled", "tests", "train2017")))
    assert is_unlabeled("Unlabeled")
    assert all(map(resembles_split, ("train2017", "my_test", "VAL-images", "dev")))
    assert not any(map(resembles_split, ("photo", "trainer", "contest", "latest", "valve", "2017")))


@pytest.mark.parametrize("names", TRIPLES)
@pytest.mark.parametrize("packed", [False, True])
def test_all_names_of_splits_give_the_same_dataset(
    tmp_path: Path, artifacts: Artifacts, names: tuple[str, ...], packed: bool
) -> None:
    plain = fill(tmp_path / "plain", of("train", "val", "test"), 3)
    other = fill(tmp_path / "other", of(*names), 3)
    path = pack(other, tmp_path / "other.zip", "wrapped/") if packed else other
    found = opened(artifacts, path)
    assert found.info.domains == ()
    assert found.info.counts == {"train": (3, 3), "val": (3, 3), "test": (3, 3)}
    tested = [np.asarray(Image.open(file)).transpose(2, 0, 1) for file in sorted((other / names[2]).rglob("*.png"))]
    assert {x.tobytes() for x in found.x[found.rows(TEST)]} == {x.tobytes() for x in tested}
    assert sorted(x.tobytes() for x in found.x) == sorted(x.tobytes() for x in opened(artifacts, plain).x)


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("train", "validation")])
def test_two_parts_are_a_split(tmp_path: Path, artifacts: Artifacts, names: tuple[str, str]) -> None:
    info = opened(artifacts, fill(tmp_path / "set", of(*names), 3)).info
    assert (info.domains, info.counts) == ((), {"train": (3, 3), "test": (3, 3)})


def test_columns_and_folders_know_the_same_names(tmp_path: Path, artifacts: Artifacts) -> None:
    for number, (train, val, test) in enumerate(TRIPLES):
        rows = [(f"{c} {s}", c, s) for s in (train, val, test) for c in ("x", "y")]
        table = tmp_path / f"{number}.csv"
        table.write_text("\n".join(["text,label,split", *(",".join(row) for row in rows)]))
        lines = tmp_path / f"{number}.jsonl"
        lines.write_text("\n".join(json.dumps(dict(zip(("text", "label", "split"), row, strict=True))) for row in rows))
        for path in (table, lines):
            info = open_dataset("texts", {"path": str(path)}, artifacts).info
            assert info.counts == {"train": (1, 1), "val": (1, 1), "test": (1, 1)}


def test_val_and_test_alone_are_not_domains(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", of("val", "test"))
    assert "there must be a train split and a test split, found: val, test" in refusal(artifacts, root)
    assert "test, val are the parts of a split, not domains" in refusal(artifacts, root, layout="domains")


def test_a_class_that_is_missing_in_valid_does_not_lead_to_domains(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", [*of("train", "test"), "valid/a"])
    assert opened(artifacts, root).info.counts == {"train": (5, 5), "val": (5, 0), "test": (5, 5)}


def test_images_without_labels_are_passed_over_and_noted(tmp_path: Path, artifacts: Artifacts) -> None:
    without = opened(artifacts, fill(tmp_path / "plain", of("train", "test"))).info
    root = fill(tmp_path / "set", of("train", "test"))
    fill(root, ["unlabeled"], 4)
    info = opened(artifacts, root).info
    assert info.fingerprint == without.fingerprint
    assert any("'unlabeled' is passed over: its 4 files have no labels" in note for note in info.warnings)


@pytest.mark.parametrize(
    ("folders", "params", "said"),
    [
        (of("train", "val", "valid"), {}, "'val' and 'valid' both mean the split val"),
        (of("Train", "train", "test"), {}, "'Train' and 'train' both mean the split train"),
        (of("train", "test", "extra"), {}, "test, train may be parts of a split, but extra not"),
        (of("train2017", "val2017"), {}, "train2017, val2017 may be parts of a split"),
        (of("photo", "sketch", "test"), {}, "test may be parts of a split, but photo, sketch not"),
        (["train_set", "test_set"], {}, "are called as the parts of a split, but hold no class folders"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], {}, "innermost folders, test, train, are called as"),
        (of("train", "test"), {"layout": "groups"}, "are the parts of a split, not groups"),
    ],
)
def test_what_is_neither_is_asked_about(
    tmp_path: Path, artifacts: Artifacts, folders: list[str], params: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        opened(artifacts, fill(tmp_path / "set", folders), **params)
    assert said in str(caught.value)
    assert caught.value.hint


def test_what_the_suite_says_is_taken(tmp_path: Path, artifacts: Artifacts) -> None:
    domains = fill(tmp_path / "domains", of("photo", "sketch", "test"))
    assert opened(artifacts, domains, layout="domains").info.domains == ("photo", "sketch", "test")
    classes = fill(tmp_path / "classes", ["train_set", "test_set"])
    assert opened(artifacts, classes, layout="classes").info.classes == ("test_set", "train_set")


def test_a_train_is_a_class_beside_a_bus(tmp_path: Path, artifacts: Artifacts) -> None:
    assert opened(artifacts, fill(tmp_path / "vehicles", ["bus", "train"])).info.classes == ("bus", "train")


@pytest.mark.parametrize(
    "outer",
    [
        ("trainA", "testA"),
        ("TrainSet", "TestSet"),
        ("trainset", "testset"),
        ("train_images", "test_images"),
        ("fold1", "fold2"),
        ("labeled", "unlabeled"),
        ("query", "gallery"),
        ("trn", "tst"),
        ("images", "holdout"),
        ("main", "Evaluation"),
    ],
)
def test_what_may_be_a_split_is_asked_about_and_read_as_the_suite_says(tmp_path: Path, outer: tuple[str, str]) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    root = fill(tmp_path / "set", [f"{name}/{kind}" for name in outer for kind in ("cat", "dog")])
    assert "it is not clear what the outermost folders mean" in refusal(artifacts, root)
    assert set(opened(artifacts, root, layout="domains").info.domains) == set(outer)


@pytest.mark.parametrize("outer", [("amazon", "webcam"), ("photo", "sketch"), ("day", "night"), ("art", "clipart")])
def test_domains_are_not_asked_about(tmp_path: Path, outer: tuple[str, str]) -> None:
    root = fill(tmp_path / "set", [f"{name}/{kind}" for name in outer for kind in ("cat", "dog")])
    assert set(opened(Artifacts(tmp_path / "artifacts"), root).info.domains) == set(outer)
