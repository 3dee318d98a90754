"""Simulated suites of one method under several names, as records of a store: every difference is luck.

The world of a dataset: test examples differ in hardness, each name answers some of them better than others (which
averages out over all examples that there could be, not over those of one test set), draws of labels are lucky for all
names alike, and each training has luck of its own. In a tuned suite each seed of a name has a search of its own over
eight configurations of unlike worth, and the product's own study says which one wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from made_results import results, run
from searched_suites import ended

from tlbench.core.record import pack_classes
from tlbench.report.report_data import Report, build_report
from tlbench.search.problem import SearchProblem
from tlbench.search.study import Study
from tlbench.store.mlflow.stored_experiment import StoredRun

_MEAN, _HARDNESS, _TASTE, _DRAW = 1.0, 1.2, 0.6, 0.15  # of logits: of a dataset, and deviations
_CONFIGURATIONS = 8


@dataclass(frozen=True)
class World:
    """The shape of a suite.

    Attributes:
        rows: Names of the one method.
        datasets: Datasets.
        seeds: Seeds.
        examples: Test examples of a dataset; in episodes, queries of a seed.
        luck: Deviation of a training's own luck, in logits; on the last dataset three times that on the first.
        classes: Test classes of episodes, each with a hardness and tastes of its own; 0 for a fixed test set.
        gaps: What each row loses against the first one, in logits; none by default.
    """

    rows: int = 3
    datasets: int = 1
    seeds: int = 3
    examples: int = 400
    luck: float = 0.08
    classes: int = 0
    gaps: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The rows."""
        return tuple(f"m{row}" for row in range(self.rows))


def truth(world: World, row: int = 0, problem: SearchProblem | None = None) -> float:
    """Return the accuracy of a row over all draws, searches, trainings and examples: the mean over datasets."""
    generator = np.random.default_rng(99)
    accuracies = []
    for dataset in range(world.datasets):
        luck = _luck(world, dataset)
        scales = np.hypot.reduce([_HARDNESS, _TASTE, _DRAW, luck])
        chosen = 0.0 if problem is None else np.resize([_tuned(problem, generator) for _ in range(2_000)], 100_000)
        logits = _MEAN - _gap(world, row) + scales * generator.normal(size=100_000) + chosen
        accuracies.append(float((1 / (1 + np.exp(-logits))).mean()))
    return float(np.mean(accuracies))


def reports(
    world: World, number: int, generator: np.random.Generator, problem: SearchProblem | None = None
) -> Iterator[Report]:
    """Yield the reports of simulated suites; the first row is the baseline, and a search problem makes rows tuned."""
    for _ in range(number):
        runs = [each for dataset in range(world.datasets) for each in _runs(world, dataset, generator, problem)]
        yield build_report(results(runs, baseline="m0"))


def _runs(
    world: World, dataset: int, generator: np.random.Generator, problem: SearchProblem | None
) -> Iterator[StoredRun]:
    units = world.classes or world.examples
    hardness = generator.normal(0, _HARDNESS, units)
    draws = generator.normal(0, _DRAW, world.seeds)
    for row, name in enumerate(world.names):
        taste = generator.normal(0, _TASTE, units)
        for seed in range(world.seeds):
            logit = _MEAN - _gap(world, row) + draws[seed] + _luck(world, dataset) * generator.normal()
            if problem is not None:
                logit += _tuned(problem, generator)
            of_units = hardness + taste
            classes = generator.integers(world.classes, size=world.examples) if world.classes else None
            logits = logit + (of_units if classes is None else of_units[classes])
            correct = generator.uniform(size=world.examples) < 1 / (1 + np.exp(-logits))
            made = run(name, float(correct.mean()), seed, dataset=f"d{dataset}", correct=correct)
            if classes is not None and made.details is not None:
                made.details = replace(made.details, group=25, test_classes=pack_classes(classes.tolist()))
            yield made


def _luck(world: World, dataset: int) -> float:
    return world.luck * (1 + 2 * dataset / max(1, world.datasets - 1))


def _gap(world: World, row: int) -> float:
    return world.gaps[row] if world.gaps else 0.0


def _tuned(problem: SearchProblem, generator: np.random.Generator) -> float:
    """Return the worth, in logits, of what a search chose by its trials' answers to 50 validation examples."""
    worth = np.array([0.0, *generator.normal(0, 0.4, _CONFIGURATIONS - 1)])
    logits = _MEAN + worth[:, None] + generator.normal(0, _HARDNESS, 50)
    right = generator.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))
    start = problem.space.start
    records = {
        number: ended(problem, number, start if number == 1 else {"lr": number / 1000}, own.mean(), right=own)
        for number, own in enumerate(right, start=1)
    }
    winner = Study(problem, records).winner
    assert winner is not None
    return float(worth[winner.trial.number - 1])
