"""Shared by the tests of the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaking_plugins
import pytest
import student_methods
import torch
from audited_cells import EPISODES, PAIR, TINY, Results
from outside_plugins import installed
from small_suites import planned, suite

from tlbench.audit.leak_checks import check_cell
from tlbench.core.cell import Cell
from tlbench.store.artifacts import Artifacts
from tlbench.worker.cache import WorkerCache


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[None]:
    """The methods and protocols that leak, and students of a teacher, as if they had been installed."""
    folders = leaking_plugins.install(tmp_path / "leaks"), student_methods.install(tmp_path / "students")
    with installed(*folders):
        yield


@pytest.fixture
def worker_cache(decoded: Path) -> WorkerCache:
    return WorkerCache(Artifacts(decoded), torch.device("cpu"))


@pytest.fixture
def audited(tmp_path: Path, decoded: Path, worker_cache: WorkerCache) -> Callable[..., Results]:
    """Audit the one cell of a grid; return verdict and detail of each check."""

    def run(**grid: Any) -> Results:
        usual = {"backbones": [TINY], "seeds": 1, "shots": [2]}
        (cell,) = planned(suite("audited", usual | grid), tmp_path, decoded)
        return {each.check: (each.verdict, each.detail) for each in check_cell(cell, worker_cache).checks}

    return run


@pytest.fixture
def cells(tmp_path: Path, decoded: Path) -> list[Cell]:
    """A cell of each protocol."""
    one = planned(suite("one", {"methods": ["knn"], "shots": [1, 3, 20], "seeds": 2}), tmp_path, decoded)
    two = planned(suite("two", {"methods": ["nearest_centroid"], "seeds": 1, **EPISODES}), tmp_path, decoded)
    pair = {"protocol": "adaptation", "methods": ["source_only"], "datasets": [PAIR], "shots": [0, 5], "seeds": 1}
    return [*one, *two, *planned(suite("three", pair), tmp_path, decoded)]
