"""Closed forms of the learning-rate schedules."""

from __future__ import annotations

import math

import pytest

from tlbench.training.schedules import halving, warmup_cosine


def test_warmup_rises_in_equal_steps_to_one() -> None:
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert [warmup_cosine(step, 100, 0.1) for step in range(10)] == pytest.approx(expected)


def test_cosine_starts_at_one_is_half_way_at_a_half_and_falls_to_the_end() -> None:
    assert warmup_cosine(10, 100, 0.1) == 1
    assert warmup_cosine(55, 100, 0.1) == pytest.approx(0.5)
    assert warmup_cosine(99, 100, 0.1) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    values = [warmup_cosine(step, 100, 0.1) for step in range(10, 100)]
    assert values == sorted(values, reverse=True)


def test_a_single_step_without_warmup_runs_at_the_full_rate() -> None:
    assert warmup_cosine(0, 1, 0.0) == 1


def test_halving() -> None:
    assert [halving(step, 3) for step in (0, 2, 3, 5, 6)] == [1, 1, 0.5, 0.5, 0.25]
