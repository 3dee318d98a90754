"""Linear probe, nearest neighbours and nearest centroid against scikit-learn, brute force and closed forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone
from tlbench.training import linear_probe
from tlbench.training.context import Context

CLASSES, WIDTH = 4, 12


@dataclass(frozen=True)
class Table:
    """Features that a context serves as they are."""

    z: Tensor

    def take(self, rows: np.ndarray) -> Tensor:
        return self.z[torch.from_numpy(rows)]


@dataclass(frozen=True)
class Problem:
    z: np.ndarray
    y: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def task(self, protocol: str = "classification", *, val: bool = True) -> Task:
        counts = {"train": (len(self.y) // CLASSES,) * CLASSES}
        dataset = DatasetInfo("features", "image", "f", tuple("abcd"), (1, 1, 1), counts)
        info = TaskInfo(protocol, dataset, 5, CLASSES, {"queries": 5})
        return Task(info, self.split(self.train), self.split(self.val) if val else None)

    def split(self, rows: np.ndarray) -> Split:
        return Split(np.zeros((len(rows), 1, 1, 1), np.uint8), self.y[rows], rows)

    def context(self) -> Context:
        return Context(random_root="features", device=CPU, features=cast(Any, Table(torch.from_numpy(self.z))))


@pytest.fixture
def problem() -> Problem:
    rng = np.random.default_rng(0)
    y = np.arange(240) % CLASSES
    z = rng.normal(size=(CLASSES, WIDTH))[y] + 1.2 * rng.normal(size=(240, WIDTH)) + 3
    return Problem(z.astype(np.float32), y, np.arange(60), np.arange(60, 120), np.arange(120, 240))


def _method(name: str) -> ModuleType:
    return registry.declaration("methods", name).load()


def _fit(name: str, problem: Problem, *, val: bool = True, **params: Any) -> tuple[np.ndarray, Context]:
    method, ctx = _method(name), problem.context()
    predictor = method.fit(problem.task(val=val), fake_backbone(), method.Config(**params), ctx)
    return predictor.head(torch.from_numpy(problem.z[problem.test])).numpy(), ctx


def _standardised(problem: Problem) -> np.ndarray:
    z = problem.z.astype(np.float64)
    centred = z - z[problem.train].mean(0)
    return centred / np.sqrt((centred[problem.train] ** 2).sum(1).mean())


@pytest.mark.parametrize("c", [0.01, 1.0, 10.0])
def test_probe_is_logistic_regression(problem: Problem, c: float) -> None:
    logits, ctx = _fit("linear_probe", problem, C=c)
    z = _standardised(problem)
    reference = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(z[problem.train], problem.y[problem.train])
    found = torch.from_numpy(logits).softmax(1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(z[problem.test]), atol=1e-4)
    assert ctx.selected["C"] == c


def test_probe_chooses_c_by_likelihood_on_validation_alone(problem: Problem) -> None:
    grid = linear_probe.C_GRID
    z, train, val = _standardised(problem), problem.train, problem.val
    fits = [LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(z[train], problem.y[train]) for c in grid]
    scored = [(-log_loss(problem.y[val], fit.predict_proba(z[val])), fit.score(z[val], problem.y[val])) for fit in fits]
    best = max(range(len(grid)), key=lambda place: scored[place])
    _, ctx = _fit("linear_probe", problem)
    assert 0 < best < len(grid) - 1, "this test needs a best C inside the grid"
    assert ctx.selected["C"] == grid[best]
    assert ctx.validation["accuracy"] == pytest.approx(scored[best][1])
    assert ctx.validation["nll"] == pytest.approx(-scored[best][0], abs=1e-4)


def _fold_pairs(problem: Problem) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    folds = np.arange(len(problem.train)) % 3
    return folds, [(problem.train[folds != each], problem.train[folds == each]) for each in range(3)]


def test_probe_chooses_c_by_folds_and_is_fitted_to_all_labels(problem: Problem) -> None:
    folds, pairs = _fold_pairs(problem)
    losses = []
    for c in linear_probe.C_GRID:
        chances = np.zeros((len(problem.y), CLASSES))
        for fitted, scored in pairs:
            z = _standardised(replace(problem, train=fitted))
            model = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(z[fitted], problem.y[fitted])
            chances[scored] = model.predict_proba(z[scored])
        losses.append(log_loss(problem.y[problem.train], chances[problem.train], labels=range(CLASSES)))
    best = linear_probe.C_GRID[int(np.argmin(losses))]
    method, ctx = _method("linear_probe"), problem.context()
    task = replace(problem.task(val=False), folds=folds)
    head = method.fit(task, fake_backbone(), method.Config(), ctx).head
    assert ctx.selected["C"] == best
    assert ctx.validation["nll"] == pytest.approx(min(losses), abs=2e-3)  # candidates are solved approximately
    to_all = _fit("linear_probe", problem, val=False, C=best)[0]
    np.testing.assert_array_equal(head(torch.from_numpy(problem.z[problem.test])), to_all)
    ctx = problem.context()
    ctx.fixed = {"C": 0.5}
    method.fit(task, fake_backbone(), method.Config(), ctx)
    assert ctx.selected["C"] == 0.5, "what was chosen before is not chosen again"


def test_examples_that_are_scored_decide_nothing_of_how_they_are_scored(problem: Problem) -> None:
    z, y = torch.from_numpy(problem.z), problem.y
    far, fitted = z * 30, linear_probe._Labelled(z[problem.train], y[problem.train])
    some, others = (linear_probe._Labelled(far[rows], y[rows]) for rows in (problem.val[:5], problem.val[5:]))
    both = linear_probe._Labelled(far[problem.val], y[problem.val])
    of_some, of_others, of_both = (
        linear_probe._scores([(fitted, each)], CLASSES, None) for each in (some, others, both)
    )
    for c in linear_probe.C_GRID:
        mean = (5 * of_some[c].nll + len(others.y) * of_others[c].nll) / len(both.y)
        assert of_both[c].nll == pytest.approx(mean, rel=1e-9)


def test_neighbours_are_counted_by_folds(problem: Problem) -> None:
    folds, pairs = _fold_pairs(problem)
    losses = {}
    for k in [k for k in _method("knn")._GRID if k <= 40]:
        logits = np.zeros((len(problem.y), CLASSES))
        for fitted, scored in pairs:
            logits[scored] = _fit("knn", replace(problem, train=fitted, test=scored), val=False, k=k)[0]
        losses[k] = log_loss(problem.y[problem.train], np.exp(logits[problem.train]))
    method, ctx = _method("knn"), problem.context()
    head = method.fit(replace(problem.task(val=False), folds=folds), fake_backbone(), method.Config(), ctx).head
    assert ctx.selected["k"] == min(losses, key=lambda k: losses[k])
    assert ctx.validation["nll"] == pytest.approx(min(losses.values()), abs=1e-5)
    assert len(head.keywords["bank"]) == len(problem.train)


def test_probe_without_validation_uses_its_default(problem: Problem) -> None:
    logits, ctx = _fit("linear_probe", problem, val=False)
    assert ctx.selected["C"] == linear_probe.DEFAULT_C
    assert ctx.validation == {}
    np.testing.assert_array_equal(logits, _fit("linear_probe", problem, C=1.0)[0])


def test_probe_does_not_depend_on_the_scale_or_offset_of_features(problem: Problem) -> None:
    moved = Problem(problem.z * 8 + 16, problem.y, problem.train, problem.val, problem.test)
    np.testing.assert_allclose(_fit("linear_probe", moved)[0], _fit("linear_probe", problem)[0], rtol=1e-3, atol=1e-3)


def test_probe_survives_features_that_are_all_equal(problem: Problem) -> None:
    flat = Problem(np.ones_like(problem.z), problem.y, problem.train, problem.val, problem.test)
    assert np.isfinite(_fit("linear_probe", flat)[0]).all()


@pytest.mark.parametrize("k", [1, 5, 17])
def test_neighbours_vote_as_in_scikit_learn(problem: Problem, k: int) -> None:
    logits, ctx = _fit("knn", problem, k=k, temperature=0.2)
    reference = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.2))
    votes = reference.fit(problem.z[problem.train], problem.y[problem.train]).predict_proba(problem.z[problem.test])
    np.testing.assert_allclose(np.exp(logits), (k * votes + 1 / CLASSES) / (k + 1), atol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(1), 1, atol=1e-5)
    assert ctx.selected["k"] == k


def test_one_neighbour_is_the_nearest_by_brute_force(problem: Problem) -> None:
    logits, _ = _fit("knn", problem, k=1)
    unit = problem.z / np.linalg.norm(problem.z, axis=1, keepdims=True)
    for row, scores in zip(problem.test, logits, strict=True):
        nearest = max(problem.train, key=lambda other: float(unit[row] @ unit[other]))
        assert scores.argmax() == problem.y[nearest]


def test_neighbours_are_counted_on_validation(problem: Problem) -> None:
    scored = {k: _fit("knn", problem, k=k)[1].validation for k in _method("knn")._GRID if k <= 60}
    best = min(scored, key=lambda k: scored[k]["nll"])
    _, ctx = _fit("knn", problem)
    assert ctx.selected["k"] == best
    assert ctx.validation == scored[best]
    assert len({scores["accuracy"] for scores in scored.values()}) > 1
    assert _fit("knn", problem, val=False)[1].selected["k"] == _method("knn")._UNTUNED


def test_asking_for_more_neighbours_than_examples_takes_all(problem: Problem) -> None:
    assert _fit("knn", problem, k=500)[1].selected["k"] == 60


@pytest.mark.parametrize("transform", ["none", "l2", "cl2n"])
def test_centroids_by_hand(problem: Problem, transform: str) -> None:
    logits, _ = _fit("nearest_centroid", problem, transform=transform)
    z = problem.z.astype(np.float64)
    if transform == "cl2n":
        z = z - z[problem.train].mean(0)
    if transform != "none":
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    train_z, train_y = z[problem.train], problem.y[problem.train]
    centres = np.stack([train_z[train_y == label].mean(0) for label in range(CLASSES)])
    expected = -((z[problem.test][:, None] - centres) ** 2).sum(2)
    shared = (logits - expected).mean(1, keepdims=True)
    np.testing.assert_allclose(logits - shared, expected, rtol=1e-4, atol=1e-4)


def test_in_episodes_the_mean_is_that_of_the_training_classes(problem: Problem) -> None:
    method, ctx = _method("nearest_centroid"), problem.context()
    learner = method.fit(problem.task("episodic"), fake_backbone(), method.Config(), ctx)
    assert learner.encoder is None
    assert 0 < ctx.validation["accuracy"] <= 1
    support, query = torch.from_numpy(problem.z[120:132]), torch.from_numpy(problem.z[140:150])
    labels = torch.from_numpy(problem.y[120:132])
    found = learner.classify(support[None], labels[None], query[None], CLASSES)[0]
    mean = torch.from_numpy(problem.z[problem.train]).mean(0)
    support, query = (torch.nn.functional.normalize(part - mean, dim=1) for part in (support, query))
    centres = torch.stack([support[labels == label].mean(0) for label in range(CLASSES)])
    expected = -torch.cdist(query, centres).square()
    torch.testing.assert_close(found.softmax(1), expected.softmax(1), rtol=1e-4, atol=1e-4)


def test_an_episode_needs_a_number_of_shots(problem: Problem) -> None:
    task = problem.task("episodic")
    info = TaskInfo("episodic", task.info.dataset, "full", CLASSES, {})
    for name in ("nearest_centroid", "protonet", "meta_baseline", "baseline_pp", "logistic_support", "finetune"):
        method = _method(name)
        assert "shots" in method.skip(info, fake_backbone().info, method.Config())
        assert method.skip(task.info, fake_backbone().info, method.Config()) is None
