"""Two methods on the same test units: exact McNemar of two models against statsmodels, counts of several."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference

from tlbench.stats.paired_examples import mcnemar

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_two_models_are_statsmodels_exact_test(shift: float) -> None:
    ours, theirs = RNG.uniform(size=(1, 90)) < 0.6 + shift, RNG.uniform(size=(1, 90)) < 0.6
    table = [[(x & y).sum() for y in (theirs, ~theirs)] for x in (ours, ~ours)]
    found = mcnemar(ours, theirs)
    assert found.p == pytest.approx(reference(table, exact=True).pvalue)
    assert (found.better, found.worse, found.units) == (table[0][1], table[1][0], 90)
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())


def test_several_models_are_counted_unit_by_unit_and_not_tested() -> None:
    ours = np.array([[1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 0], [1, 0, 1, 1, 1, 0]], bool)
    theirs = np.array([[0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]], bool)
    found = mcnemar(ours, theirs)  # gains by example: 3, 0, 0, 1, 3, -1
    assert (found.better, found.worse, found.units, found.p) == (3, 1, 6, None)
    assert found.difference == pytest.approx(6 / 18)


def test_classes_are_counted_and_not_tested() -> None:
    found = mcnemar(np.array([[0.9, 0.5, 0.7]]), np.array([[0.8, 0.6, 0.7]]))
    assert (found.better, found.worse, found.units, found.p) == (1, 1, 3, None)


def test_equal_models_have_p_one_and_other_shapes_are_refused() -> None:
    bits = RNG.uniform(size=(1, 9)) < 0.5
    assert mcnemar(bits, bits).p == 1.0
    with pytest.raises(ValueError, match="shape"):
        mcnemar(bits, bits[:, :8])
