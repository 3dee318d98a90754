"""Rows beaten by another: the same ones as by testing pair after pair, in a time that allows for a thousand rows."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest

from tlbench.stats.contrasts import family_contrasts, paired_contrast_across_datasets
from tlbench.stats.dominance import dominated_rows
from tlbench.stats.scores import Scores, common_cells


def suite(generator: np.random.Generator, rows: int, datasets: int, shots: int, seeds: int) -> dict[str, Scores]:
    """Return rows with the same cells in orders of their own, some cells missing, that rise and fall with the seed.

    One dataset may spread far more than the others, and another rise and fall far more.
    """
    strata = [(f"d{dataset}", str(number)) for dataset in range(datasets) for number in range(shots)]
    cells = {stratum: [seed for seed in range(seeds) if generator.random() > 0.05] for stratum in strata}
    level = generator.normal(0.5, 0.02, rows)
    wild = generator.choice([1.0, 20.0])
    tide = {(stratum, seed): generator.normal(0, 0.2) * (stratum[0] == "d1") for stratum in strata for seed in range(9)}
    found: dict[str, Scores] = {}
    for row in range(rows):
        order = generator.permutation(len(strata))
        spread = {stratum: 0.01 * (wild if stratum[0] == "d0" else 1.0) for stratum in strata}
        found[f"m{row}"] = {
            strata[place]: {
                seed: level[row] + tide[strata[place], seed] + generator.normal(0, spread[strata[place]])
                for seed in cells[strata[place]]
            }
            for place in order
            if cells[strata[place]]
        }
    return found


def pair_by_pair(rows: dict[str, Scores], alarm: float, new_datasets: bool) -> set[str]:
    pairs = {(one, two): (rows[one], rows[two]) for one, two in combinations(rows, 2)}
    found = (
        {name: paired_contrast_across_datasets(*both) for name, both in pairs.items()}
        if new_datasets
        else family_contrasts(pairs)
    )
    return {
        second if contrast.estimate.mean > 0 else first
        for (first, second), contrast in found.items()
        if contrast is not None and contrast.p is not None and contrast.p / 2 < alarm
    }


@pytest.mark.parametrize("new_datasets", [False, True])
def test_the_same_rows_fall_as_pair_by_pair(new_datasets: bool) -> None:
    generator = np.random.default_rng(0)
    fallen = 0
    for _ in range(80):
        rows, datasets, shots, seeds = generator.integers((1, 1, 1, 1), (9, 6, 4, 6))
        made = suite(generator, rows, datasets, shots, seeds)
        if generator.random() < 0.2:  # ties, and differences that do not vary
            made = {
                name: {stratum: {seed: round(v, 1) for seed, v in own.items()} for stratum, own in scores.items()}
                for name, scores in made.items()
            }
        if common_cells(made).cells:
            expected = pair_by_pair(made, 0.01, new_datasets)
            assert dominated_rows(made, 0.01, new_datasets) == expected
            fallen += len(expected)
    assert fallen > 40


def test_a_thousand_rows_are_no_work() -> None:
    """Half a million pairs, of which one by one takes four minutes."""
    made = suite(np.random.default_rng(1), 1000, 5, 2, 5)
    began = time.process_time()
    assert 900 < len(dominated_rows(made, 0.05 / 999)) < 1000
    assert time.process_time() - began < 5
