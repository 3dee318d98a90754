"""The bag of words equals scikit-learn's pipeline of the same texts, needs no backbone, and reads no test text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_process import done, new_cache
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from small_suites import planned, suite

from tlbench.audit.leak_checks import check_cell
from tlbench.audit.overlaps import unknown_corpora
from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST
from tlbench.planning.prepare import prepare
from tlbench.protocols import classification
from tlbench.store.artifacts import Artifacts
from tlbench.training.bag_of_words import C_GRID, BagOfWords
from tlbench.worker.fit_cell import fit_cell

CLASSES, EACH = 4, 30
TINY = {"name": "text_tiny", "max_length": 16}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts of words of which some are likelier in one class; the last third of each class is for the test."""
    rng = np.random.default_rng(0)
    lines = ["text,label,split"]
    for label in range(CLASSES):
        for number in range(EACH):
            odds = np.full(40, 1.0)
            odds[label * 5 : label * 5 + 5] = 3.0
            words = [f"word{word}" for word in rng.choice(40, rng.integers(4, 9), p=odds / odds.sum())]
            split = "test" if number >= 20 else "train"
            lines.append(f"{' '.join([*words, *(['unseen'] if split == 'test' else [])])},class{label},{split}")
    (tmp_path / "texts.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def grid(**more: Any) -> dict[str, Any]:
    return {
        "methods": ["tfidf"],
        "backbones": [],
        "datasets": [{"name": "texts", "path": "texts.csv"}],
        "shots": ["full"],
        "seeds": 1,
        **more,
    }


def cells(folder: Path, **more: Any) -> list[Cell]:
    return planned(suite("words", grid(**more)), folder, folder / "artifacts")


def fitted(cell: Cell, folder: Path) -> tuple[Any, Any]:
    result = fit_cell(cell, new_cache(folder / "artifacts"), folder / "running")
    return result.fitted, result.outcome


def parts(cell: Cell, folder: Path) -> tuple[Any, list[str], np.ndarray]:
    """The task as the protocol draws it, and the texts and labels of the test."""
    dataset = open_dataset("texts", {"path": str(folder / "texts.csv")}, Artifacts(folder / "artifacts"))
    rows = dataset.rows(TEST)
    task = classification._chosen_task(
        classification.TaskInfo("classification", dataset.info, cell.shots, CLASSES, cell.protocol.options),
        dataset,
        cell.seed,
        lambda task: None,
        classification.Context(random_root="", device=torch.device("cpu")),
    )
    return task, [str(dataset.x[row]) for row in rows], dataset.y[rows]


@pytest.mark.parametrize(
    ("params", "pipeline"),
    [
        ({"C": 3.0}, make_pipeline(TfidfVectorizer(), LogisticRegression(C=3.0, max_iter=2000))),
        (
            {"C": 0.5, "ngrams": 2, "weighting": "counts"},
            make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(C=0.5, max_iter=2000)),
        ),
        ({"C": 1.0, "classifier": "svm"}, make_pipeline(TfidfVectorizer(), LinearSVC(C=1.0, random_state=0))),
    ],
    ids=["logistic", "counts", "svm"],
)
def test_it_is_scikit_learns_pipeline(folder: Path, params: dict[str, Any], pipeline: Any) -> None:
    (cell,) = cells(folder, methods=[{"name": "tfidf", "params": params}])
    predictor, outcome = fitted(cell, folder)
    task, texts, labels = parts(cell, folder)
    assert len(task.train) == CLASSES * 20, "all labelled texts are fitted to"
    pipeline.fit(task.train.x, task.train.labels)
    np.testing.assert_allclose(predictor.logits(texts), pipeline.decision_function(texts), rtol=1e-2, atol=1e-3)
    assert (predictor.logits(texts).argmax(1).numpy() == pipeline.predict(texts)).all()
    assert outcome.scores["accuracy"] == pytest.approx(pipeline.score(texts, labels))
    assert outcome.footprint.trainable == pipeline[-1].coef_.size + pipeline[-1].intercept_.size


def test_c_is_the_likeliest_over_the_folds_with_words_of_the_other_folds_alone(folder: Path) -> None:
    (cell,) = cells(folder, shots=[10])
    _, outcome = fitted(cell, folder)
    task, _, _ = parts(cell, folder)
    texts, labels, folds = np.array(task.train.x, object), task.train.labels, task.folds
    losses = []
    for c in C_GRID:
        model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=c, max_iter=2000))
        found = np.zeros((len(texts), CLASSES))
        for fold in range(folds.max() + 1):
            found[folds == fold] = model.fit(texts[folds != fold], labels[folds != fold]).predict_proba(
                texts[folds == fold]
            )
        losses.append(log_loss(labels, found))
    assert outcome.selected["C"] == C_GRID[int(np.argmin(losses))]
    assert outcome.validation["nll"] == pytest.approx(min(losses), rel=1e-4)


def test_a_word_of_the_test_alone_is_not_in_the_vocabulary_and_changes_nothing(folder: Path) -> None:
    (cell,) = cells(folder)
    predictor, _ = fitted(cell, folder)
    assert "unseen" not in predictor.vocabulary
    assert "word0" in predictor.vocabulary
    assert torch.equal(predictor.logits(["word0 unseen"]), predictor.logits(["word0"]))


def test_two_classes_and_a_class_without_examples() -> None:
    texts, labels = ["red", "red red", "blue", "blue sky"], np.array([0, 0, 2, 2])
    predictor = BagOfWords("tfidf", 1, "logistic").fit(texts, labels, 3, 1.0, 0)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=1.0, max_iter=2000)).fit(texts, labels)
    probabilities = predictor.logits(texts).softmax(1).numpy()
    np.testing.assert_allclose(probabilities[:, [0, 2]], model.predict_proba(texts), rtol=1e-4)
    assert (probabilities[:, 1] == 0).all()


def test_it_has_one_row_whatever_backbones_stand_beside_it(folder: Path) -> None:
    both = cells(folder, methods=["tfidf", "linear_probe"], backbones=[TINY, {**TINY, "max_length": 32}])
    assert [(c.method.name, c.backbone.info.label) for c in both if c.method.name == "tfidf"] == [("tfidf", "none")]
    assert [c.id for c in both if c.method.name == "tfidf"] == [c.id for c in cells(folder)]
    record = done(cells(folder)[0], new_cache(folder / "artifacts"))
    assert record.cell.backbone_label == "none"
    assert record.cost.examples_embedded == 0
    assert record.outcome is not None
    assert record.outcome.scores["accuracy"] > 0.4


def test_a_grid_needs_backbones_where_a_method_reads_one_and_texts_where_none_does(folder: Path) -> None:
    with pytest.raises(UserError, match="backbones: must not be empty"):
        cells(folder, methods=["tfidf", "linear_probe"])
    path = folder / "images.yaml"
    path.write_text(str(suite("images", grid(datasets=["digits"]))).replace("'", '"'))
    (left_out,) = prepare(path, Artifacts(folder / "artifacts")).plan.not_applicable
    assert left_out.reason == "tfidf does not read image data"


def test_an_audit_proves_that_no_test_label_is_read(folder: Path) -> None:
    (cell,) = cells(folder, shots=[5])
    results = {each.check: each.verdict for each in check_cell(cell, new_cache(folder / "artifacts")).checks}
    assert "failed" not in results.values()
    assert [check for check, verdict in results.items() if verdict == "passed"]
    assert unknown_corpora([cell]) == (), "there are no weights"
