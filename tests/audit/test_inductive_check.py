"""Predictions that depend on the batch are found, unless the method declares itself transductive."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from audited_cells import EPISODES, HONEST, Results, verdicts

from tlbench.audit.results import (
    BATCHES,
    RUNS,
    TEST_LABELS,
)


def test_predictions_that_depend_on_the_batch_are_found_unless_that_is_declared(
    plugins: None, audited: Callable[..., Results]
) -> None:
    verdict, detail = audited(methods=["crowd"])[BATCHES]
    assert verdict == "failed"
    for what in (
        "the order of the examples",
        "the size of the batch",
        "which other examples are in the batch",
        "being alone",
    ):
        assert what in detail
    assert audited(methods=["honest_crowd"])[BATCHES] == ("declared", "")


@pytest.mark.parametrize(
    ("method", "check", "verdict", "detail"),
    [
        ("undeclared", RUNS, "failed", "but the method does not declare itself transductive"),
        ("declared", BATCHES, "declared", ""),
        ("by_order", BATCHES, "failed", "predictions depend on the order of the queries (by"),
        ("across", BATCHES, "failed", "predictions depend on the other episodes (by"),
    ],
)
def test_episodes_are_audited_too(
    plugins: None, audited: Callable[..., Results], method: str, check: str, verdict: str, detail: str
) -> None:
    found = audited(methods=[method], **EPISODES)
    assert found[check][0] == verdict
    assert detail in found[check][1]
    if check != RUNS:
        assert verdicts(found)[TEST_LABELS] == "passed"


@pytest.mark.parametrize("method", ["nearest_centroid", {"name": "finetune", "params": {"epochs": 2}}])
def test_honest_learners_of_episodes_pass(audited: Callable[..., Results], method: object) -> None:
    assert verdicts(audited(methods=[method], **EPISODES)) == HONEST
