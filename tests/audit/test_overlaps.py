"""Copies of test examples are looked for in all that was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audited_cells import EPISODES, PAIR, TINY
from small_suites import CORPUS, planned, suite

from tlbench.audit.overlaps import OverlapSearch, unknown_corpora
from tlbench.data.dataset import TEST, TRAIN
from tlbench.worker.cache import WorkerCache


def test_test_data_are_compared_with_all_that_was_trained_on(
    tmp_path: Path, decoded: Path, worker_cache: WorkerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = {**TINY, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 1}}}
    one = planned(suite("one", {"methods": ["knn"], "backbones": [TINY, pretrained]}), tmp_path, decoded)
    two = planned(suite("two", {"methods": ["nearest_centroid"], "seeds": 1, **EPISODES}), tmp_path, decoded)
    three = {"protocol": "adaptation", "methods": ["source_only"], "datasets": [PAIR], "shots": [0], "seeds": 1}
    cells = [*one, *two, *planned(suite("three", three), tmp_path, decoded)]
    opened = WorkerCache.dataset

    def copied(self: WorkerCache, choice: Any) -> Any:
        data = opened(self, choice)
        if data.info.name != "digits":
            return data
        x, test = data.x.copy(), data.rows(TEST)
        x[test[:3]] = x[data.rows(TRAIN)[5:8]]
        return replace(data, x=x)

    monkeypatch.setattr(WorkerCache, "dataset", copied)
    found = list(OverlapSearch(worker_cache).overlaps(cells))
    assert [(each.test, each.against, each.exact, each.near) for each in found] == [
        ("digits: test part", "digits: training part", 3, 0),
        ("digits: test part", "rendered_digits(images=600): pre-training corpus", 0, 0),
        ("glyphs: test classes", "glyphs: training classes", 0, 0),
        ("glyphs: test classes", "glyphs: validation classes", 0, 0),
        (
            "rendered_digits(images=600) -> digits: test part",
            "rendered_digits(images=600) -> digits: training part",
            0,
            0,
        ),
        (
            "rendered_digits(images=600) -> digits: test part",
            "rendered_digits(images=600) -> digits: source domain",
            0,
            0,
        ),
    ]
    data = worker_cache.dataset(one[0].dataset)
    assert [pair.row for pair in found[0].pairs] == data.rows(TRAIN)[5:8].tolist()
    assert (found[0].tests, found[0].trained, found[0].share) == (897, 900, 3 / 897)
    same = (data.y[data.rows(TEST)[:3]] == data.y[data.rows(TRAIN)[5:8]]).sum()
    assert found[0].same_class == same
    assert unknown_corpora(cells) == ()
