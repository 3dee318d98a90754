"""Closed forms of the learning-rate schedules."""

from __future__ import annotations

import math

import pytest
import torch

from tlbench.training.schedules import (
    one_cycle,
    rate_factor,
    slanted_triangular,
    step_halving,
    warmup_cosine,
    warmup_linear,
)


def test_warmup_rises_in_equal_steps_to_one() -> None:
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert [warmup_cosine(step, 100, 0.1) for step in range(10)] == pytest.approx(expected)


def test_cosine_starts_at_one_is_half_way_at_a_half_and_falls_to_the_end() -> None:
    assert warmup_cosine(10, 100, 0.1) == 1
    assert warmup_cosine(55, 100, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(99, 100, 0.1) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    values = [warmup_cosine(step, 100, 0.1) for step in range(10, 100)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (37, 0.06), (5, 0.0)])
def test_linear_rates_are_those_of_transformers_one_step_ahead_in_the_rise(steps: int, warmup: float) -> None:
    """Theirs start at zero, which wastes a step; ours end the rise at the peak on its last step."""
    transformers = pytest.importorskip("transformers")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rise = int(warmup * steps)
    theirs = transformers.get_linear_schedule_with_warmup(optimizer, rise, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    expected = [*found[1 : rise + 1], *found[rise:]]
    assert [warmup_linear(step, steps, warmup) for step in range(steps)] == pytest.approx(expected)


def test_a_single_step_without_warmup_runs_at_the_full_rate() -> None:
    assert warmup_cosine(0, 1, 0.0) == 1


def test_halving() -> None:
    assert [step_halving(step, 3) for step in (0, 2, 3, 5, 6)] == [1, 1, 0.5, 0.5, 0.25]


def test_slanted_triangles_start_and_end_at_a_thirty_second_and_peak_at_the_cut() -> None:
    assert slanted_triangular(0, 200, 0.1) == pytest.approx(1 / 32)
    assert slanted_triangular(20, 200, 0.1) == 1
    assert slanted_triangular(200, 200, 0.1) == pytest.approx(1 / 32)
    for step, height in ((10, 0.5), (110, 0.5), (155, 0.25)):
        assert slanted_triangular(step, 200, 0.1) == pytest.approx((1 + 31 * height) / 32)
    assert slanted_triangular(0, 5, 0.1) == 1, "no step to rise in"


@pytest.mark.parametrize(("steps", "rise"), [(100, 0.3), (57, 0.25), (10, 0.5)])
def test_one_cycle_is_torchs_step_by_step(steps: int, rise: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, steps, pct_start=rise, cycle_momentum=False)
    for step in range(steps):
        assert one_cycle(step, steps, rise) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_a_schedule_is_chosen_by_its_name() -> None:
    for name, function in (
        ("cosine", warmup_cosine),
        ("linear", warmup_linear),
        ("slanted_triangular", slanted_triangular),
        ("one_cycle", one_cycle),
    ):
        assert [rate_factor(name, step, 20, 0.3) for step in range(20)] == [function(s, 20, 0.3) for s in range(20)]  # type: ignore[arg-type]
