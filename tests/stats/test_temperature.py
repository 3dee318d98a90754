"""Temperatures of the largest likelihood: closed forms, and an optimiser of another kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlbench.stats.temperature import fit_temperature


@pytest.mark.parametrize(("margin", "right", "count"), [(2.0, 9, 10), (0.3, 7, 10), (8.0, 51, 100)])
def test_equal_margins_give_the_share_of_right_answers(margin: float, right: int, count: int) -> None:
    logits = np.tile([margin, 0.0], (count, 1))
    labels = (np.arange(count) >= right).astype(np.int64)
    share = right / count
    assert fit_temperature(logits, labels) == pytest.approx(margin / np.log(share / (1 - share)), rel=1e-6)


def test_it_is_where_the_gradient_of_torchs_cross_entropy_vanishes() -> None:
    chance = np.random.default_rng(0)
    logits = 5 * chance.normal(size=(400, 6))
    labels = (logits / 3 + chance.gumbel(size=logits.shape)).argmax(1)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(3, rel=0.2)
    temperature = torch.tensor(found, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.from_numpy(logits) / temperature, torch.from_numpy(labels)).backward()
    assert temperature.grad is not None
    assert abs(float(temperature.grad)) < 1e-7


def test_there_is_none_where_all_answers_are_right_or_logits_tell_nothing_or_nothing_is_given() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, np.array([0, 1])) is None
    assert fit_temperature(logits, np.array([1, 0])) is None
    assert fit_temperature(logits[:0], np.array([], np.int64)) is None
