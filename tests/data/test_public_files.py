"""Two public sets of files that nobody here made; skipped where they are absent."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, VAL
from tlbench.data.sampling import check_episodes, check_shots, draw_shots
from tlbench.store.artifacts import Artifacts

SHARED = Path(__file__).parents[3] / "shared" / "data"
OMNIGLOT = SHARED / "omniglot-small" / "omniglot-small.zip"
CLINC = SHARED / "clinc150" / "clinc150.csv"


@pytest.mark.skipif(not OMNIGLOT.exists(), reason="omniglot-small.zip is not here")
def test_omniglot(decoded: Path) -> None:
    dataset = open_dataset("folder", {"path": str(OMNIGLOT), "layout": "groups"}, Artifacts(decoded))
    info = dataset.info
    assert dataset.x.shape == (4840, 1, 105, 105)
    assert len(info.classes) == 242
    assert (np.bincount(dataset.y) == 20).all()
    assert (np.array(info.counts["test"]) == 4).all()
    alphabets = {p: {info.classes[label].split("/")[0] for label in ls} for p, ls in info.class_splits.items()}
    assert [len(alphabets[part]) for part in ("train", "val", "test")] == [4, 2, 2]
    assert len(set.union(*alphabets.values())) == 8
    assert set(np.unique(dataset.x)) == {0, 255}
    assert 0.8 < np.mean(dataset.x == 255) < 0.99, "thin strokes on white paper"
    check_episodes(info, 20, 5, 15)


@pytest.mark.skipif(not CLINC.exists(), reason="clinc150.csv is not here")
def test_clinc150(decoded: Path) -> None:
    dataset = open_dataset("texts", {"path": str(CLINC)}, Artifacts(decoded))
    assert len(dataset.x) == len(dataset.y) == 22_500
    assert len(dataset.info.classes) == 150
    assert len(dataset.info.domains) == 10
    counts = {part: set(numbers) for part, numbers in dataset.info.counts.items()}
    assert counts == {"train": {100}, "val": {20}, "test": {30}}
    assert dataset.x[0] == "what expression would i use to say i love you if i were an italian"
    check_shots(dataset.info, 100)
    draw = draw_shots(dataset.y, dataset.rows(0), 10, 0, dataset.info, source_val=dataset.rows(1))
    assert (len(draw.train), len(draw.val), len(draw.unlabeled)) == (1200, 300, 13_500)


@pytest.mark.skipif(not CLINC.exists(), reason="clinc150.csv is not here")
def test_clinc150_row_by_row(decoded: Path) -> None:
    """The official split, label and domain of every row, read here by the standard library."""
    dataset = open_dataset("texts", {"path": str(CLINC)}, Artifacts(decoded))
    info = dataset.info
    with CLINC.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(dataset.x) == [row["text"] for row in rows]
    assert [info.classes[label] for label in dataset.y] == [row["label"] for row in rows]
    assert [info.domains[place] for place in dataset.domain] == [row["domain"] for row in rows]
    assert [("train", "val", "test")[part] for part in dataset.part] == [row["split"] for row in rows]
    assert info.class_splits == {}
    assert info.warnings == ()
    domains = defaultdict(set)
    for label, place in zip(dataset.y.tolist(), dataset.domain.tolist(), strict=True):
        domains[label].add(place)
    assert {len(found) for found in domains.values()} == {1}, "a domain is a group of intents"
    assert (np.bincount([place for found in domains.values() for place in found]) == 15).all()


@pytest.mark.skipif(not CLINC.exists(), reason="clinc150.csv is not here")
def test_clinc150_keeps_its_validation_out_of_a_budget(decoded: Path) -> None:
    dataset = open_dataset("texts", {"path": str(CLINC)}, Artifacts(decoded))
    val, test = dataset.rows(VAL), dataset.rows(TEST)
    few = draw_shots(dataset.y, dataset.rows(TRAIN), 5, 0, dataset.info, source_val=val)
    full = draw_shots(dataset.y, dataset.rows(TRAIN), "full", 0, dataset.info, source_val=val)
    assert not set(val) & {*few.train, *few.val, *few.unlabeled}
    assert np.array_equal(full.val, val)
    assert len(full.train) == 15_000
    assert not set(test) & {*few.train, *few.val, *few.unlabeled, *full.train, *full.val}
