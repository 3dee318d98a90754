"""One method under several names: how often a page claims a difference, and how often its intervals hold the truth.

Everything is read off the report as a reader gets it: records with answers to single examples, boards, tables and
the sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from equal_methods import World, reports, truth
from searched_suites import prepared

from tlbench.report.recommendation import MARGIN, answer
from tlbench.report.report_data import Report
from tlbench.report.sections._datasets_paper_table import paper_table
from tlbench.report.sections._pairwise_examples import examples_table
from tlbench.search.problem import SearchProblem

WORLDS = {
    "two rows": World(rows=2),
    "three rows, small test set": World(rows=3, examples=100),
    "five rows, large test set": World(rows=5, examples=1500, luck=0.15),
    "two datasets": World(rows=3, datasets=2, examples=360),
    "three datasets, five seeds": World(rows=4, datasets=3, seeds=5, examples=300),
    "no luck in training": World(rows=3, examples=360, luck=0.001),
    "episodes": World(rows=3, examples=1000, classes=12),
}
TUNED = World(rows=3, seeds=5)
LEVEL = 0.05


def claims(report: Report, world: World) -> Counter[str]:
    """Count the claims of a difference on a page of equal methods, each of which is false."""
    (board,) = report.boards
    found = answer(board)
    pairs = board.comparison
    assert pairs is not None
    assert found.leader is not None
    assert found.is_best == ("is the best of" in found.sentence) == (found.leader.ranks == (1, 1))
    settings = [row.difference.p_holm for row in report.settings]
    records = paper_table(report.boards).records
    return Counter(
        {
            "the best": found.is_best,
            "a rank": any(row.ranks != (1, world.rows) for row in board.ranked),
            "a pair": any(pair.verdict for pair in pairs.pairs.values()),
            "a difference to the baseline": _any_below(row.difference.p_holm for row in board.rows),
            "a difference of a setting": _any_below(settings) / world.datasets,
            "example by example": _any_below(each["p_adjusted"] for each in examples_table(report.boards).records),
            "a row out of the best of a column": len(
                {each["dataset"] for each in records if not each["not_separable_from_best"]}
            )
            / world.datasets,
            "new datasets": found.on_new_datasets is not None and len(found.on_new_datasets) < world.rows,
        }
    )


def _any_below(p_values: Iterable[object]) -> int:
    return sum(isinstance(p, float) and p < LEVEL for p in p_values) > 0


def covered(report: Report, world: World, accuracy: float) -> Counter[str]:
    """Count the intervals that hold the truth: of the first row's mean, and of its difference to the second."""
    (board,) = report.boards
    rows = {row.method: row for row in board.rows}
    of_mean, contrast = rows["m1"].accuracy, rows["m1"].difference.contrast
    assert contrast is not None
    found = {"mean": (of_mean, accuracy), "difference": (contrast.estimate, 0.0)}
    return Counter({name: (each.low or 0.0) <= true <= (each.high or 0.0) for name, (each, true) in found.items()})


def added(
    world: World,
    number: int,
    seed: int,
    count: Callable[[Report], Counter[str]],
    problem: SearchProblem | None = None,
) -> dict[str, float]:
    total: Counter[str] = Counter()
    for report in reports(world, number, np.random.default_rng(seed), problem):
        total.update(count(report))
    return {name: value / number for name, value in total.items()}


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> SearchProblem:
    """A search of eight trials."""
    folder = tmp_path_factory.mktemp("searched")
    first, *_ = prepared(folder, folder / "artifacts", trials=8).searches.problems.values()
    return first


def test_equal_methods_are_rarely_told_apart_in_suites_of_all_shapes(problem: SearchProblem) -> None:
    """30 suites of each of eight shapes, one of them tuned; 5% and two standard errors of 240."""
    total = Counter(added(TUNED, 30, 100, lambda report: claims(report, TUNED), problem))
    for seed, world in enumerate(WORLDS.values()):
        total.update(added(world, 30, seed, lambda report, world=world: claims(report, world)))
    rates = {name: value / (len(WORLDS) + 1) for name, value in total.items()}
    assert max(rates.values()) <= LEVEL + 2 * (LEVEL * (1 - LEVEL) / 240) ** 0.5, rates


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WORLDS)
def test_equal_methods_are_rarely_told_apart(name: str) -> None:
    """400 suites; 5% and two standard errors of 400."""
    rates = added(WORLDS[name], 400, 7, lambda report: claims(report, WORLDS[name]))
    print(name, rates)
    assert max(rates.values()) <= LEVEL + 2 * (LEVEL * (1 - LEVEL) / 400) ** 0.5, rates


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tuned_rows_of_one_method_are_rarely_told_apart_and_hold_the_truth(problem: SearchProblem) -> None:
    """400 suites whose seeds are searched each by itself."""
    accuracy = truth(TUNED, problem=problem)
    rates = added(TUNED, 400, 7, lambda report: claims(report, TUNED), problem)
    held = added(TUNED, 400, 8, lambda report: covered(report, TUNED, accuracy), problem)
    print("tuned", rates, held)
    assert max(rates.values()) <= LEVEL + 2 * (LEVEL * (1 - LEVEL) / 400) ** 0.5, rates
    assert all(0.93 - 0.022 <= rate <= 0.97 + 0.022 for rate in held.values()), held


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_hold_the_truth(name: str) -> None:
    """600 suites; 93% to 97%, and two standard errors of 600."""
    world = WORLDS[name]
    accuracy = truth(world)
    rates = added(world, 600, 8, lambda report: covered(report, world, accuracy))
    print(name, rates)
    assert all(0.93 - 0.018 <= rate <= 0.97 + 0.018 for rate in rates.values()), rates


def test_a_cheaper_row_is_rarely_taken_that_is_worse_by_more_than_the_margin() -> None:
    """True gaps of 0, 2, 6, 10 and 20 points, three seeds: what is said to be within one point of the leader is so."""
    world = World(rows=5, seeds=3, examples=400, luck=0.15, gaps=(0.0, 0.13, 0.38, 0.6, 1.1))
    true = [truth(world, row) for row in range(world.rows)]
    wrong, best = 0, 0
    for report in reports(world, 60, np.random.default_rng(3)):
        (board,) = report.boards
        found = answer(board)
        assert found.leader is not None
        leader = true[int(found.leader.method[1:])]
        wrong += any(true[int(row.method[1:])] < leader - MARGIN for row in found.within_margin)
        best += found.is_best and found.leader.method != "m0"
    assert wrong / 60 <= 0.05 + 2 * (0.05 * 0.95 / 60) ** 0.5
    assert best == 0
