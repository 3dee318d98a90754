"""Scores of single classes on the page: those of scikit-learn over all seeds, of the best row at the most shots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_results import results, run
from sklearn.metrics import precision_recall_fscore_support

from tlbench.core.record import Confusion
from tlbench.report.report_data import Report, build_report
from tlbench.report.rows.classes import class_scores
from tlbench.report.sections import classes as section
from tlbench.store.mlflow.record_artifact import RecordDetails
from tlbench.store.mlflow.stored_experiment import StoredRun

NAMES = ("ant", "bee", "cat", "dog")


def answered(seed: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and answers of 200 examples; there are no dogs, but dogs are answered."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, 200)
    return truth, np.where(generator.random(200) < right, truth, generator.integers(0, 4, 200))


def made(method: str, seed: int, shots: str, right: float) -> StoredRun:
    truth, answers = answered(seed, right)
    pairs, counts = np.unique(np.stack([truth, answers]), axis=1, return_counts=True)
    table = Confusion(classes=NAMES, counts=tuple(zip(*pairs.tolist(), counts.tolist(), strict=True)))
    found = run(method, float((truth == answers).mean()), seed, shots=shots)
    return replace(found, details=RecordDetails(tests=200, packed_confusion=table.pack()))


@pytest.fixture(scope="module")
def report() -> Report:
    runs = [
        made(method, seed, shots, right)
        for shots in ("5", "20")
        for method, right in (("good", 0.8), ("bad", 0.3))
        for seed in range(3)
    ]
    return build_report(results(runs, baseline="bad"))


def test_the_best_row_at_the_most_shots_is_shown(report: Report) -> None:
    (found,) = class_scores(report.settings, report.cells, report.results.details)
    assert (found.row.method, found.row.shots) == ("good", "20")
    truth, answers = (np.concatenate(part) for part in zip(*(answered(seed, 0.8) for seed in range(3)), strict=True))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, answers, labels=range(4), zero_division=np.nan
    )
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.f1[:3], f1[:3])
    assert found.examples.tolist() == support.tolist()
    assert found.worst == sorted(range(3), key=lambda c: recall[c])
    wrong = {(t, a): int(((truth == t) & (answers == a)).sum()) for t in range(3) for a in range(4) if t != a}
    assert [wrong[pair] for pair in found.confusions] == sorted(wrong.values(), reverse=True)


def test_files_hold_all_classes_and_the_page_the_worst(report: Report) -> None:
    content = section.build(report)
    table, pairs = content.tables
    assert [record["class"] for record in table.records] == [row[0] for row in table.parts[0].body]
    assert len(table.records) == 3, "a class without a test example has no score"
    assert pairs.records[0]["examples"] == max(record["examples"] for record in pairs.records)
    data = section.frame(class_scores(report.settings, report.cells, report.results.details))
    shares = data.groupby("truth")["share"].sum()
    assert shares.tolist() == pytest.approx([1, 1, 1])
    assert set(data["answer"]) == set(NAMES)


def test_results_without_answers_by_class_have_no_such_section() -> None:
    content = section.build(build_report(results([run("good", 0.5, seed) for seed in range(3)])))
    assert (content.tables, content.is_listed) == ((), False)
    damaged = replace(run("good", 0.5), details=RecordDetails(tests=1, packed_confusion="%"))
    assert section.build(build_report(results([damaged]))).tables == ()
