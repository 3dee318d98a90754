"""What the trials of a search are validated on, with real data: the labels of its seed, the same for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from searched_suites import prepared

from tlbench.core.record import Outcome, unpack_bits
from tlbench.data.dataset import TEST, Task
from tlbench.protocols import classification
from tlbench.search.problem import SearchProblem
from tlbench.store.artifacts import Artifacts
from tlbench.training.fewshot import episodes
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell


@pytest.fixture
def cache(decoded: Path) -> WorkerCache:
    return WorkerCache(Artifacts(decoded), torch.device("cpu"))


def problems(folder: Path, decoded: Path, **grid: Any) -> list[SearchProblem]:
    usual = {"methods": ["knn"], "seeds": 2} | grid
    return list(prepared(folder, decoded, usual, trials=3).searches.problems.values())


def outcome(cell: Any, cache: WorkerCache, **more: Any) -> Outcome:
    record = run_cell(cell, cache, **more)
    assert record.outcome is not None, record.error
    return record.outcome


class Tasks:
    """The tasks that cells were fitted on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[Task] = []
        draw = classification.draw

        def note(*given: Any) -> Task:
            self.seen.append(draw(*given))
            return self.seen[-1]

        patch.setattr(classification, "draw", note)

    def taken(self) -> list[tuple[frozenset[int], frozenset[int]]]:
        """Return the labelled rows that were fitted to and validated on since the last call."""
        found = [
            (
                frozenset(task.train.rows.tolist()),
                frozenset() if task.val is None else frozenset(task.val.rows.tolist()),
            )
            for task in self.seen
        ]
        self.seen.clear()
        return found


def test_trials_have_the_labels_of_their_cell_in_folds_that_all_of_them_share(
    tmp_path: Path, decoded: Path, cache: WorkerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, budgets = Tasks(monkeypatch), []
    for problem in problems(tmp_path, decoded):
        assert problem.folds == 5
        outcome(problem.default_cell, cache)
        ((train, val),) = tasks.taken()
        owned = train | val
        assert len(owned) == 50
        first, second = (outcome(problem.trial(n, {"temperature": t}), cache) for n, t in ((1, 0.07), (2, 0.5)))
        seen = tasks.taken()
        assert seen[:5] == seen[5:], "both trials have the same folds"
        assert all(fitted | held == owned and not fitted & held for fitted, held in seen)
        assert sorted(row for _, held in seen[:5] for row in held) == sorted(owned), "each label validates once"
        dataset = cache.read(problem.dataset, problem.backbone)
        assert not owned & set(dataset.rows(TEST).tolist())
        assert all(np.bincount(dataset.y[list(held)], minlength=10).tolist() == [1] * 10 for _, held in seen)
        assert first.answers is not None
        assert second.answers is not None
        assert first.answers.count == second.answers.count == 50
        bits = np.unpackbits(np.frombuffer(unpack_bits(first.answers.correct, 50), np.uint8), count=50)
        assert first.validation["accuracy"] == pytest.approx(bits.mean())
        assert (first.scores, first.tests) == ({}, 0)
        budgets.append(owned)
    assert budgets[0] != budgets[1], "another seed has other labels"


def test_enough_validation_examples_are_not_folded(
    tmp_path: Path, decoded: Path, cache: WorkerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = Tasks(monkeypatch)
    problem, *_ = problems(tmp_path, decoded, shots=[25])
    assert problem.folds == 1
    outcome(problem.default_cell, cache)
    found = outcome(problem.trial(1, problem.space.start), cache)
    cell, trial = tasks.taken()
    assert cell == trial
    assert found.answers is not None
    assert found.answers.count == len(cell[1]) == 50
    one, *_ = problems(tmp_path, decoded, shots=[1])
    blind = outcome(one.trial(1, one.space.start), cache)
    assert (one.folds, blind.answers, blind.validation) == (1, None, {})


def test_every_fold_is_trained_from_the_start(tmp_path: Path, decoded: Path, cache: WorkerCache) -> None:
    """A fold that began from the weights of the fold before would depend on the order; and a trial is reproducible."""
    problem, *_ = problems(tmp_path, decoded, methods=[{"name": "finetune", "params": {"epochs": 2}}], shots=[2])
    assert problem.folds == 2
    seen: list[tuple[int, int, Outcome]] = []

    class Follower:
        def on_begin(self, meter: Any) -> None: ...

        def on_epoch(self, ctx: Any, done: int, total: int) -> None: ...

        def on_fold(self, done: int, count: int, so_far: Outcome) -> None:
            seen.append((done, count, so_far))

    trial = problem.trial(1, problem.space.start)
    first, again = outcome(trial, cache, observer=Follower()), outcome(trial, cache)
    assert first == again
    assert [(done, count) for done, count, _ in seen] == [(1, 2), (2, 2)]
    assert seen[-1][2].validation == first.validation
    assert [each.answers.count for _, _, each in seen if each.answers] == [10, 20]
    assert not list((cache.artifacts.root / "running").glob("*"))


def test_trials_in_episodes_meet_the_same_episodes(
    tmp_path: Path, decoded: Path, cache: WorkerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bytes] = []
    draw = episodes.draw_episodes

    def note(*given: Any, **more: Any) -> Any:
        found = draw(*given, **more)
        drawn.append(found.support.tobytes() + found.query.tobytes())
        return found

    monkeypatch.setattr(episodes, "draw_episodes", note)
    grid = {"protocol": "episodic", "methods": ["nearest_centroid"], "datasets": ["digits"], "ways": 2, "queries": 3}
    searched = problems(tmp_path, decoded, **grid, shots=[1], episodes=20)
    for problem in searched:
        assert problem.folds == 1
        for number, transform in enumerate(("cl2n", "none"), start=1):
            found = outcome(problem.trial(number, {"transform": transform}), cache)
            assert found.answers is not None
            assert (found.answers.count, found.answers.group) == (200 * found.answers.group, found.answers.group)
    one, other = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert len(set(one)) == len(set(other)) == 1, "in training as at the end, in every trial"
    assert one[0] != other[0], "another seed has others"
