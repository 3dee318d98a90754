"""Simulated suites of one method under several names, as records of a store: every difference is luck.

The world of a dataset: test examples differ in hardness, each name answers some of them better than others (which
averages out over all examples that there could be, not over those of one test set), draws of labels are lucky for all
names alike, and each training has luck of its own. In a tuned suite each seed of a name has its own search: the best of
eight configurations by their validation score, whose luck is part of the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from made_results import results, run
from numpy.typing import NDArray

from tlbench.core.record import pack_classes
from tlbench.report.report_data import Report, build_report
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
        tuned: Whether each seed of a row is searched.
        gaps: What each row loses against the first one, in logits; none by default.
    """

    rows: int = 3
    datasets: int = 1
    seeds: int = 3
    examples: int = 400
    luck: float = 0.08
    classes: int = 0
    tuned: bool = False
    gaps: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The rows."""
        return tuple(f"m{row}" for row in range(self.rows))


def truth(world: World, row: int = 0) -> float:
    """Return the accuracy of a row over all draws, trainings and examples: the mean over datasets."""
    generator = np.random.default_rng(99)
    accuracies = []
    for dataset in range(world.datasets):
        luck = _luck(world, dataset)
        scales = np.hypot.reduce([_HARDNESS, _TASTE, _DRAW, luck])
        chosen = _tuned(generator, 100_000) if world.tuned else 0.0
        logits = _MEAN - _gap(world, row) + scales * generator.normal(size=100_000) + chosen
        accuracies.append(float((1 / (1 + np.exp(-logits))).mean()))
    return float(np.mean(accuracies))


def reports(world: World, number: int, generator: np.random.Generator) -> Iterator[Report]:
    """Yield the reports of simulated suites; the first row is the baseline."""
    for _ in range(number):
        runs = [each for dataset in range(world.datasets) for each in _runs(world, dataset, generator)]
        yield build_report(results(runs, baseline="m0"))


def _runs(world: World, dataset: int, generator: np.random.Generator) -> Iterator[StoredRun]:
    units = world.classes or world.examples
    hardness = generator.normal(0, _HARDNESS, units)
    draws = generator.normal(0, _DRAW, world.seeds)
    for row, name in enumerate(world.names):
        taste = generator.normal(0, _TASTE, units)
        for seed in range(world.seeds):
            logit = _MEAN - _gap(world, row) + draws[seed] + _luck(world, dataset) * generator.normal()
            if world.tuned:
                logit += float(_tuned(generator, 1)[0])
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


def _tuned(generator: np.random.Generator, searches: int) -> NDArray[np.float64]:
    """Return the worth, in logits, of what each search chose by validation scores of as much noise."""
    worth = generator.normal(0, 0.2, (searches, _CONFIGURATIONS))
    scores = worth + generator.normal(0, 0.2, worth.shape)
    return worth[np.arange(searches), scores.argmax(1)]
