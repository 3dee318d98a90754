"""Estimates come from the closest kin that was measured, say so, and add up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlbench.core.cell import Cell
from tlbench.core.cost import PRIOR_SECONDS, Timing, Timings
from tlbench.core.resources import Resources
from tlbench.suite.plan import Plan


@pytest.fixture
def cells(plan_text: Callable[[str], Plan]) -> list[Cell]:
    """Two methods on one backbone and dataset, two shots, three seeds."""
    return plan_text(
        "name: x\ngrids:\n- {protocol: classification, methods: [lora, linear_probe], backbones: [conv4],"
        " datasets: [digits], shots: [1, 5], seeds: 3}\n"
    ).cells


def _timing(seconds: float, method: str = "lora", backbone: str = "conv4/random", shots: int = 1) -> Timing:
    return Timing(method, backbone, "digits", "classification", shots, seconds)


def test_nothing_measured_is_a_stated_prior(cells: list[Cell]) -> None:
    total = Timings().total(cells, Resources(cpus=2, workers=3))
    assert total.cells == 12
    assert total.seconds == 12 * PRIOR_SECONDS
    assert total.cpu_hours == pytest.approx(12 * PRIOR_SECONDS * 6 / 3600)
    assert total.gpu_hours == 0
    assert total.sources == {"prior: 60 s a cell, the method was never measured": 12}


def test_the_closest_kin_counts(cells: list[Cell]) -> None:
    cell = next(cell for cell in cells if cell.method.name == "lora" and cell.shots == 1)
    measured = [_timing(100, backbone="resnet18/random")]
    assert Timings(measured).estimate(cell) == (100, "measured on 1 cell of the same method", 1)
    measured.append(_timing(10, shots=5))
    assert Timings(measured).estimate(cell) == (10, "measured on 1 cell of the same method and backbone", 1)
    measured += [_timing(1), _timing(2)]
    assert Timings(measured).estimate(cell) == (1.5, "measured on 2 cells of the same setting", 2)


def test_totals_add_up(cells: list[Cell]) -> None:
    total = Timings([_timing(7), _timing(3, "linear_probe")]).total(cells, Resources(gpus=0.5))
    assert total.seconds == pytest.approx(6 * 7 + 6 * 3)
    assert total.gpu_hours == pytest.approx(total.seconds / 7200)
    assert sum(total.sources.values()) == 12
