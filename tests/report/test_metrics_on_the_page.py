"""Rows under a metric that the suite chose: their order, their intervals, and how they are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_results import results, run

from tlbench.api.leaderboard import leaderboard_frame
from tlbench.core.record import pack_scores
from tlbench.report.metric_text import metric_text
from tlbench.report.report_data import build_report
from tlbench.report.rescored import CellScore, rescored
from tlbench.report.results import Results
from tlbench.stats.intervals import Estimate
from tlbench.store.mlflow.record_artifact import RecordDetails
from tlbench.store.mlflow.schema import OPTION_PREFIX

TESTS = 250
NOISE = np.random.default_rng(0).normal(size=TESTS)  # the same examples are hard for every seed


def packed(mean: float, spread: float) -> str:
    return pack_scores((mean + spread * (NOISE - NOISE.mean())).astype("<f4").tobytes())


def by_loss() -> Results:
    """Two methods with the same accuracy, of which the second has the smaller loss."""
    runs = []
    for method, losses in {"first": (0.5, 0.6, 0.7), "second": (0.4, 0.45, 0.5)}.items():
        for seed, loss in enumerate(losses):
            made = run(method, 0.8, seed, metrics={"test/log_loss": loss}, **{f"{OPTION_PREFIX}metric": "log_loss"})
            details = RecordDetails(tests=TESTS, packed_scores=packed(-loss, 0.3))
            runs.append(replace(made, details=details))
    return results(runs, baseline="first")


def test_the_smaller_loss_is_first_and_is_told_as_it_is() -> None:
    (board,) = build_report(by_loss()).boards
    assert (board.metric, [row.method for row in board.rows]) == ("log_loss", ["second", "first"])
    assert board.rows[0].accuracy.mean == pytest.approx(-0.45)
    assert board.rows[0].difference.contrast is not None
    assert board.rows[0].difference.contrast.estimate.mean == pytest.approx(0.15)
    frame = leaderboard_frame([board])
    assert list(frame["score"]) == pytest.approx([0.45, 0.6])
    assert (frame["score_low"] < frame["score"]).all()
    assert (frame["score"] < frame["score_high"]).all()
    assert set(frame["metric"]) == {"log_loss"}


def test_intervals_contain_the_error_of_the_test_by_the_scores_of_examples() -> None:
    (board,) = build_report(by_loss()).boards
    tests = board.rows[0].accuracy.tests
    assert tests is not None
    assert tests.error == pytest.approx(0.3 * NOISE.std(ddof=1) / TESTS**0.5, rel=1e-3)


def test_scores_that_are_not_there_are_missing() -> None:
    found = by_loss()
    found = replace(found, done=found.done.drop(columns="test/log_loss"))
    report = build_report(found)
    assert report.boards == ()
    assert any("without a finite test score" in warning for warning in report.warnings)


def test_results_are_told_under_another_metric_where_answers_were_kept() -> None:
    runs = [
        replace(run(method, 0.8, seed), details=RecordDetails(tests=TESTS))
        for method in ("first", "second")
        for seed in range(3)
    ]
    found = results(runs, baseline="first")
    values = {cell: 0.9 - 0.1 * ("second" in cell) for cell in found.done["cell"] if not cell.endswith("/2")}
    scores = {cell: CellScore(value, packed(value, 0.1)) for cell, value in values.items()}
    report = build_report(rescored(found, "auroc", scores))
    (board,) = report.boards
    assert (board.metric, len(report.results.done)) == ("auroc", 4)
    assert {row.method: row.accuracy.mean for row in board.rows} == pytest.approx({"first": 0.9, "second": 0.8})
    assert build_report(found).boards[0].metric == "accuracy"


@pytest.mark.parametrize(
    ("name", "heading", "score", "interval"),
    [
        ("accuracy", "accuracy", "41.2", "40.0 to 42.4"),
        ("ece", "ECE (smaller is better)", "41.2", "40.0 to 42.4"),
        ("log_loss", "log loss (smaller is better)", "0.412", "0.400 to 0.424"),
    ],
)
def test_a_score_is_told_in_its_unit(name: str, heading: str, score: str, interval: str) -> None:
    told = metric_text(name)
    low, high = (0.4, 0.424) if told.sign > 0 else (-0.424, -0.4)
    assert (told.heading, told.score(told.sign * 0.412)) == (heading, score)
    assert told.interval(Estimate(told.sign * 0.412, 3, 0.006, 2, low, high)) == interval
    assert (told.score(None), told.interval(Estimate(0.5, 1))) == ("–", "–")
