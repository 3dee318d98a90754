"""Labels change where a check says so, nowhere else, and the draw of the budget stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_suites import planned, suite

from tlbench.audit.changed_labels import (
    permute_labels_beyond_budget,
    permute_test_labels,
    scored_rows,
    separate_artifacts,
)
from tlbench.core.cell import Cell
from tlbench.core.class_splits import deal_classes
from tlbench.data.dataset import TEST, TRAIN, VAL
from tlbench.data.sampling import draw_shots
from tlbench.store.artifacts import Artifacts
from tlbench.worker.cache import WorkerCache


def test_permuted_are_the_labels_of_what_is_scored_and_no_others(cells: list[Cell], worker_cache: WorkerCache) -> None:
    for cell in cells:
        data = worker_cache.dataset(cell.dataset)
        labels, rows = permute_test_labels(cell, data), scored_rows(cell, data)
        changed = np.flatnonzero(labels != data.y)
        assert set(changed) <= set(rows)
        assert len(changed) > 0.8 * len(rows)
        np.testing.assert_array_equal(np.sort(labels[rows]), np.sort(data.y[rows]))
        if cell.protocol.episodic:
            assert set(data.y[changed]) <= set(deal_classes(data.info)["test"])
        else:
            assert (data.part[changed] == TEST).all()


def test_relabelled_is_what_lies_beyond_the_budget_and_the_draw_stays(
    cells: list[Cell], worker_cache: WorkerCache
) -> None:
    for cell in (cell for cell in cells if not cell.protocol.episodic):
        data = worker_cache.dataset(cell.dataset)
        labels = permute_labels_beyond_budget(cell, data)
        changed = np.flatnonzero(labels != data.y)
        assert np.isin(data.part[changed], (TRAIN, VAL)).all()
        draws = [
            draw_shots(y, data.rows(TRAIN), cell.shots, cell.seed, data.info, groups=data.group)
            for y in (data.y, labels)
        ]
        for name in ("train", "val", "unlabeled"):
            np.testing.assert_array_equal(getattr(draws[0], name), getattr(draws[1], name))
        assert not set(changed) & {*draws[0].train, *draws[0].val}
        assert len(changed) > 0.5 * len(draws[0].unlabeled)


def test_where_examples_come_in_groups_the_draw_stays_too(
    tmp_path: Path, decoded: Path, worker_cache: WorkerCache
) -> None:
    grid = {"methods": ["knn"], "backbones": ["text_tiny"], "datasets": ["pydocs"], "shots": [5], "seeds": 1}
    (cell,) = planned(suite("grouped", grid), tmp_path, decoded)
    data = worker_cache.dataset(cell.dataset)
    assert data.group is not None
    labels = permute_labels_beyond_budget(cell, data)
    draws = [
        draw_shots(y, data.rows(TRAIN), cell.shots, cell.seed, data.info, groups=data.group) for y in (data.y, labels)
    ]
    for name in ("train", "val", "unlabeled"):
        np.testing.assert_array_equal(getattr(draws[0], name), getattr(draws[1], name))
    assert (labels != data.y).sum() > 0.2 * len(draws[0].unlabeled)


def test_a_separate_folder_shares_what_labels_cannot_change_and_keeps_the_rest(tmp_path: Path) -> None:
    whole = Artifacts(tmp_path / "whole")
    own = separate_artifacts(whole, tmp_path / "whole" / "audit" / "1")
    for kind in ("features", "pretrained", "teachers", "tokenizers", "running"):
        own.get(kind, "made", lambda folder: None)
    shared = {
        kind for kind in ("features", "pretrained", "teachers", "tokenizers", "running") if whole.has(kind, "made")
    }
    assert shared == {"features", "pretrained"}
