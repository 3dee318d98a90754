"""Two public sets of files that nobody here made; skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlbench.data.catalog import open_dataset
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
    draw = draw_shots(dataset.y, dataset.rows(0), 10, 0, dataset.info.fingerprint, source_val=dataset.rows(1))
    assert (len(draw.train), len(draw.val), len(draw.unlabeled)) == (1200, 300, 13_500)
